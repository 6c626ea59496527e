"""The model families: one file each, with an `Options` class and a `build` function.

To add one, write its file and name it here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

from pydantic import BaseModel, ConfigDict

from models.errors import UnknownFamilyError
from models.inputs import Inputs
from models.options import did_you_mean
from models.outputs import Outputs

FAMILIES = {
    "linear": "models.families.linear",
    "mlp": "models.families.mlp",
    "cnn": "models.families.cnn",
    "inception": "models.families.inception",
    "rnn": "models.families.rnn",
    "lstm": "models.families.lstm",
    "gru": "models.families.gru",
    "wavenet": "models.families.wavenet",
    "text": "models.families.text",
    "transformer": "models.families.transformer",
    "char_lm": "models.families.char_lm",
    "seq2seq": "models.families.seq2seq",
    "ssd": "models.families.ssd",
}


USUAL_TASKS = ("classification", "regression")


class FamilyOptions(BaseModel):
    """The base of every family's options: they do not change and have no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Family(Protocol):
    """What a family's module offers; importing it does not import Keras.

    A module may also have `TASKS`, where it is made for others than USUAL_TASKS: of a generation one of the inputs is
    the `prefix`, see `models.answers`, and of a detection `outputs.grids` has the default boxes, see `models.boxes`.
    """

    Options: type[FamilyOptions]

    def build(self, inputs: Inputs, outputs: Outputs, options: Any) -> Any:
        """Return a `keras.Model` from `inputs` to `outputs.layer(...)`."""


def tasks_of(name: str) -> tuple[str, ...]:
    """Return the tasks that a family is made for."""
    return tuple(getattr(family(name), "TASKS", USUAL_TASKS))


def family(name: str) -> Family:
    """Return the module of a family.

    Raises:
        UnknownFamilyError: there is none of that name; the nearest is named.
    """
    if name not in FAMILIES:
        raise UnknownFamilyError(f"Unknown model family {name!r}.{did_you_mean(name, FAMILIES)}")
    return cast(Family, import_module(FAMILIES[name]))
