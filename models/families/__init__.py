"""The model families: one file each, with an `Options` class and a `build` function.

To add one, write its file and add it to FAMILIES.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

from pydantic import BaseModel, ConfigDict

from tidegate.models.config.options import did_you_mean
from tidegate.models.errors import UnknownFamilyError
from tidegate.models.networks.inputs import Inputs
from tidegate.models.networks.several_outputs import AnyOutputs

FAMILIES = {
    "linear": "tidegate.models.families.linear",
    "mlp": "tidegate.models.families.mlp",
    "cnn": "tidegate.models.families.cnn",
    "inception": "tidegate.models.families.inception",
    "rnn": "tidegate.models.families.recurrent.rnn",
    "lstm": "tidegate.models.families.recurrent.lstm",
    "gru": "tidegate.models.families.recurrent.gru",
    "wavenet": "tidegate.models.families.wavenet",
    "text": "tidegate.models.families.text",
    "transformer": "tidegate.models.families.transformer",
    "char_lm": "tidegate.models.families.char_lm",
    "gpt": "tidegate.models.families.gpt",
    "seq2seq": "tidegate.models.families.seq2seq",
    "ssd": "tidegate.models.families.ssd",
    "unet": "tidegate.models.families.unet",
    "tide": "tidegate.models.families.tide",
    "autoencoder": "tidegate.models.families.autoencoder",
}


USUAL_TASKS = (
    "classification",
    "regression",
    "multilabel",
    "multioutput",
    "reconstruction",
    "forecasting",
    "anomaly",
)


class FamilyOptions(BaseModel):
    """The base of every family's options: immutable, and unknown keys are refused."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class Family(Protocol):
    """The interface of a family's module; importing the module must not import Keras.

    A module for other tasks than USUAL_TASKS has `TASKS`. For generation one of the inputs is `prefix`, see
    `preprocessing.target.text_target`; for detection `outputs.grids` has the default boxes, see
    `preprocessing.target.box_target`.
    """

    Options: type[FamilyOptions]

    def build(self, inputs: Inputs, outputs: AnyOutputs, options: Any) -> Any:
        """Return a `keras.Model` from `inputs` to `outputs.layer(...)`."""


def tasks_of(name: str) -> tuple[str, ...]:
    """Return the tasks that a family supports."""
    return tuple(getattr(family(name), "TASKS", USUAL_TASKS))


def family(name: str) -> Family:
    """Return the module of a family.

    Raises:
        UnknownFamilyError: no family has that name; names the nearest.
    """
    if name not in FAMILIES:
        raise UnknownFamilyError(f"unknown model family {name!r}{did_you_mean(name, FAMILIES)}")
    return cast(Family, import_module(FAMILIES[name]))
