"""Keras classes of the user's as most tutorials write them: without `get_config`, so that Keras can't store them.

Such a class remembers the arguments that it is made with. They are stored in its place in the `.keras` file, and it is
made by its code again, with the same arguments; arguments may be whatever Keras stores, such as numbers and layers.
"""

from __future__ import annotations

import functools
import inspect
from itertools import takewhile
from types import ModuleType
from typing import Any

MADE_WITH = "__made_with__"  # Keras neither tracks nor stores an attribute with such a name by itself
BESIDE = ("name", "trainable", "dtype")  # what every Keras layer has in its config
STARRED = (
    inspect.Parameter.VAR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.POSITIONAL_ONLY,
)


def make_loadable(*modules: ModuleType) -> None:
    """Let the Keras classes of the user's modules that have no `get_config` be stored by their arguments; once each.

    Left as they are: classes whose `__init__` takes *args or **kwargs, which can have a config of Keras.
    """
    for module in modules:
        for one in list(vars(module).values()):
            if inspect.isclass(one) and one.__module__ == module.__name__ and _lacks_config(one):
                _by_arguments(one)


def is_by_arguments(kind: type) -> bool:
    """Whether `make_loadable` changed a class."""
    return MADE_WITH in vars(kind)


def _by_arguments(one: Any) -> None:
    def get_config(self: Any) -> dict[str, Any]:
        import keras

        config: dict[str, Any] = super(one, self).get_config()
        if type(self).get_config is not get_config or MADE_WITH not in vars(self):
            return config  # of a class that derives from it and says its own
        made = {
            name: keras.saving.serialize_keras_object(value) for name, value in vars(self)[MADE_WITH].items()
        }
        return {**{name: config[name] for name in BESIDE if name in config}, MADE_WITH: made}

    def from_config(kind: Any, config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if MADE_WITH not in config:
            return super(one, kind).from_config(config, *args, **kwargs)
        return _made(kind, config)

    if "__init__" in vars(one):
        one.__init__ = _remembering(one.__init__)
    one.get_config, one.from_config = get_config, classmethod(from_config)
    setattr(one, MADE_WITH, True)


def _made(kind: Any, config: dict[str, Any]) -> Any:
    import keras

    given = {name: keras.saving.deserialize_keras_object(value) for name, value in config[MADE_WITH].items()}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(config.get("dtype", before)))
    try:
        made = kind(**given)
    finally:
        keras.config.set_dtype_policy(before)
    made.name = config.get("name", made.name)
    made.trainable = config.get("trainable", True)
    return made


def _remembering(init: Any) -> Any:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remembered(self: Any, *args: Any, **kwargs: Any) -> None:
        if MADE_WITH not in vars(self):  # else a derived class was called, and calls this one
            given = dict(list(signature.bind(self, *args, **kwargs).arguments.items())[1:])
            object.__setattr__(self, MADE_WITH, given)
        init(self, *args, **kwargs)

    vars(remembered)["__signature__"] = signature  # Keras looks at it
    return remembered


def _lacks_config(kind: Any) -> bool:
    own = list(takewhile(lambda base: not base.__module__.startswith("keras."), kind.__mro__))
    if len(own) == len(kind.__mro__) or not hasattr(kind, "from_config") or is_by_arguments(kind):
        return False
    said = {name for base in own if not is_by_arguments(base) for name in vars(base)}
    if {"get_config", "from_config"} & said or not any("__init__" in vars(base) for base in own):
        return False
    return all(one.kind not in STARRED for one in inspect.signature(kind.__init__).parameters.values())
