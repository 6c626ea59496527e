"""Trainings that differ in nothing but their rows, as those of a cross-validation, share one compiled model.

To build, compile and trace a model takes longer than to train it on few rows. So the next training gets the model of
the one before, with every variable as it was before the first batch; weights and metrics are the same to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tidegate.models.config.own_metrics import own_metrics
from tidegate.models.loops import Loop, WindowLoop
from tidegate.models.user_code.references import is_reference

if TYPE_CHECKING:
    from tidegate.models.config.losses import Loss
    from tidegate.models.training.recipe import Recipe

# With these a training does more than what the model's variables say, or with another model than the one built.
ALONE = ("function", "callbacks", "privacy", "augmentation")


@dataclass
class SharedGraph:
    """The model of the last training, for the next one.

    Attributes:
        key: what trainings must have in common beside their recipe; None before the first one.
        model, loss: of the last training; None: the next one makes its own.
        loops: over its training rows and its held-out rows, or None.
    """

    key: Any = None
    model: Any = None
    loss: Loss | None = None
    loops: tuple[Loop, Loop | None] | None = None
    _values: list[np.ndarray] = field(default_factory=list)

    def begin(self, key: Any) -> Any:
        """The compiled model for a training with this key; None: it has to be built."""
        if key != self.key:
            self.key, self.model, self.loss, self.loops = key, None, None, None
        return self.model

    def keep(self, model: Any, loss: Loss, loops: tuple[Loop, Loop | None]) -> None:
        """Keep a model that is compiled and not yet trained."""
        self.model, self.loss, self.loops = model, loss, loops
        self._values = [np.array(variable.value.numpy()) for variable in _variables(model)]

    def restart(self, train: tuple[Any, ...], held_out: tuple[Any, ...] | None) -> tuple[Loop, Loop | None]:
        """The loops over other rows, with all variables as when the model was kept."""
        assert self.loops is not None
        for variable, value in zip(_variables(self.model), self._values, strict=True):
            variable.assign(value)
        for loop, rows in zip(self.loops, (train, held_out), strict=True):
            if loop is not None and rows is not None:
                cast(WindowLoop, loop).load(rows)
        return self.loops


def shared_graph(recipe: Recipe) -> SharedGraph | None:
    """What the trainings of a recipe share; None where one could leave something behind for the next.

    On the TensorFlow backend, with a family, and no code of the user's.
    """
    model, training = recipe.model, recipe.training
    named = [training["loss"], training["optimizer"]]
    names = [one["name"] if isinstance(one, dict) else one for one in named]
    alone = (
        training["backend"] != "tensorflow"
        or training["precision"] != "float32"
        or not model.get("family")
        or model.get("pretrain")
        or recipe.start is not None
        or recipe.target.outputs is not None
        or any(training[key] for key in ALONE)
        or own_metrics(training["metrics"])
        or any(is_reference(name) for name in names if name)
    )
    return None if alone else SharedGraph()


def _variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]
