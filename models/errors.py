"""Everything that can go wrong while data is read and a model is learned.

ModelsError
├── DataError                 the data cannot be used as the experiment asks
│   ├── SourceError           not there, not readable, or no reader for it
│   ├── FormatError           the content is not what its format promises
│   ├── SchemaError           columns do not fit the inputs, kinds or target asked for
│   └── SplitError            the rows cannot be divided as asked
├── ModelError                the model cannot be built
│   ├── UnknownFamilyError    no family of that name
│   ├── OptionsError          an option of the model, optimizer, loss or training is wrong
│   └── UserModelError        the user's own model file is wrong; names file and line
├── TrainingError             the training cannot go on
│   ├── NonFiniteLossError    the loss became NaN or infinite; names epoch and batch
│   ├── StoppedError          the process was told to end; its state was kept
│   ├── GroupError            the processes of one training did not meet; names who did not come
│   ├── MemberLostError       one of them was lost in the middle; it is named, and all end
│   └── GpuNotFoundError      a GPU was asked for and none is there
└── ExportError               the trained model has no faithful ONNX form

Every message says what was received, what was expected and how to fix it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ModelsError(Exception):
    """The base of all errors of `models`."""


class DataError(ModelsError):
    """The data cannot be used as the experiment asks."""


class SourceError(DataError):
    """A source is not there, not readable, or nothing here reads it."""


class FormatError(DataError):
    """A file's content is not what its format promises."""


class SchemaError(DataError):
    """Columns do not fit the inputs, kinds or target asked for."""


class SplitError(DataError):
    """The rows cannot be divided into training, validation and test as asked."""


class ModelError(ModelsError):
    """The model cannot be built."""


class UnknownFamilyError(ModelError):
    """No model family of that name."""


class OptionsError(ModelError):
    """An option of the model, the optimizer, the loss or the training is wrong."""


class UserModelError(ModelError):
    """The user's own model file is wrong; the message names file and line."""


class TrainingError(ModelsError):
    """The training cannot go on."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite; the message names epoch and batch."""


class StoppedError(TrainingError):
    """The process was told to end; the training's state was kept, and the same training goes on from it."""


class GroupError(TrainingError):
    """The processes of one training did not meet; the message names who did not come."""


class MemberLostError(TrainingError):
    """One process of a training's group was lost; the same training goes on when all are started again."""


class GpuNotFoundError(TrainingError):
    """A GPU was asked for and none is there."""


class ExportError(ModelsError):
    """The trained model has no faithful ONNX form; the message says why."""


def nearest_name(name: object, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant, for "did you mean"; None where nothing is close."""
    return next(iter(get_close_matches(str(name), list(known), n=1, cutoff=0.5)), None)
