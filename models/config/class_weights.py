"""Class weights: a number for each class, which is found however it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import OptionsError

if TYPE_CHECKING:  # `plan` imports this room, and loads no NumPy for it
    import numpy as np

BALANCED = "balanced"
TRUE, FALSE = ("true", "yes", "on", "y", "t", "1"), ("false", "no", "off", "n", "f", "0")


def class_weights(
    weights: str | Mapping[Any, float] | None, counts: np.ndarray | None, names: Sequence[Any]
) -> np.ndarray | None:
    """Return the float32 weight of each class's rows (classes,), or None if all rows have the same weight.

    "balanced" is rows / (classes * rows of the class), the heuristic of King and Zeng, "Logistic Regression
    in Rare Events Data" (2001): every class weighs the same in total and the mean weight is 1.

    Args:
        weights: the experiment's `training.class_weights`.
        counts: training rows of each class, int64 (classes,); None without classes.
        names: the classes.

    Raises:
        OptionsError: see `weights_by_place`; also "balanced" without classes.
    """
    import numpy as np

    if weights is None:
        return None
    if weights == BALANCED and names and counts is not None:
        return np.asarray((counts.sum() / (len(names) * np.maximum(counts, 1))).astype(np.float32))
    return np.asarray(weights_by_place(weights, names), np.float32)


def class_sizes(truth: np.ndarray, classes: int) -> np.ndarray:
    """Return how many rows, or places of rows, each class has, int64 (classes,); negative indices are no class."""
    import numpy as np

    return np.bincount(truth[truth >= 0], minlength=classes)


def row_weights(
    own: np.ndarray | None, of_class: np.ndarray | None, truth: np.ndarray, at_places: bool = False
) -> np.ndarray | None:
    """Return the product of the weights of rows and of their classes, as `Model.fit` has it; None without both.

    Args:
        own: float32 (rows,).
        of_class: float32 (classes,).
        truth: class indices (rows,), or at each place (rows, *shape).
        at_places: whether they are at places.

    Returns:
        float32 (rows,), or (rows, *shape) at places, where weights of rows alone have a size of 1 for each of those.
    """
    import numpy as np

    spread = own.reshape(-1, *[1] * (truth.ndim - 1)) if own is not None and at_places else own
    if of_class is None:
        return spread
    found = np.asarray(of_class[truth])
    return found if spread is None else found * spread


def weights_by_place(weights: str | Mapping[Any, float], names: Sequence[Any]) -> list[float]:
    """Return the weight of each class; 1 for a class that has none.

    Args:
        weights: "balanced", which stands for a weight of 1 here, or a weight by class. A class is found by its exact
            name, else by its name in other capitals, else by its number, as 1 for "1.0", else as a truth, as 1, "yes"
            or true for True.
        names: the classes.

    Raises:
        OptionsError: there are no classes, a class is not one of the target's, is meant twice, or all weights are 0.
    """
    if not names:
        raise OptionsError(
            "option 'training.class_weights' is given and the target has no classes; expected a classification; "
            "leave it out"
        )
    if isinstance(weights, str):
        if weights == BALANCED:
            return [1.0] * len(names)
        raise OptionsError(
            f"option 'training.class_weights' is {weights!r}; expected 'balanced' or a weight per class; correct it"
        )
    places: dict[int, Any] = {}
    for written in weights:
        place = _place(written, names)
        if place in places:
            raise OptionsError(
                f"option 'training.class_weights' has {places[place]!r} and {written!r}, which are both the class "
                f"{names[place]!r}; expected one weight a class; leave one out"
            )
        places[place] = written
    found = [float(weights[places[place]]) if place in places else 1.0 for place in range(len(names))]
    if not any(found):
        raise OptionsError(
            "option 'training.class_weights' gives every class the weight 0; expected one above 0; raise one"
        )
    return found


def _place(written: Any, names: Sequence[Any]) -> int:
    """The place of a class among the names."""
    for form in (class_key, _folded, _number, _truth):
        wanted: Any = form(written)
        found = [place for place, name in enumerate(names) if wanted is not None and form(name) == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            many = ", ".join(repr(names[place]) for place in found)
            raise OptionsError(
                f"class {written!r} in 'training.class_weights' may be each of {many}; expected one of them; write it "
                "as it stands in the data"
            )
    raise OptionsError(
        f"unknown class {written!r} in 'training.class_weights'{did_you_mean(written, map(class_key, names))}"
    )


def class_key(name: Any) -> str:
    """A class as a JSON key, which is how a step reads it."""
    return str(name).lower() if isinstance(name, bool) else str(name)


def _folded(name: Any) -> str:
    return class_key(name).strip().casefold()


def _number(name: Any) -> float | None:
    try:
        return None if isinstance(name, bool) else float(class_key(name))
    except ValueError:
        return None


def _truth(name: Any) -> bool | None:
    word = _folded(name)
    return True if word in TRUE else False if word in FALSE else None
