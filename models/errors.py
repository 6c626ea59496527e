"""Everything that can go wrong while data is read and a model is trained.

ModelsError
├── DataError                 the data cannot be used as the experiment asks
│   ├── SourceError           the source is missing, not readable, or has no reader
│   ├── FormatError           the content does not match its format
│   ├── SchemaError           the columns do not fit the inputs, kinds or target
│   └── SplitError            the rows cannot be split as asked
├── ModelError                the model cannot be built
│   ├── UnknownFamilyError    no family of that name
│   ├── OptionsError          an option of the model, optimizer, loss or training is wrong
│   │   └── UnknownOptionError   the model or the optimizer has no such option
│   └── UserModelError        the user's own model file is wrong; names file and line
├── TrainingError             the training cannot continue
│   ├── NonFiniteLossError    the loss became NaN or infinite; names epoch and batch
│   ├── StoppedError          the process received SIGTERM; its state was saved
│   ├── GroupError            not all processes of one training connected; names the missing ones
│   ├── MemberLostError       one of them was lost during the training; names it, and all end
│   └── GpuNotFoundError      a GPU was asked for and there is none
├── ExportError               the trained model has no faithful ONNX form
└── UserCodeError             a function or class of the user's project is wrong; names file and line
    └── TransformError        the user's transform fails for some rows, or returns no columns

Every message says what was received, what was expected and how to fix it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # ANSI escape codes


class ModelsError(Exception):
    """The base of all errors of `models`."""


class DataError(ModelsError):
    """The data cannot be used as the experiment asks."""


class SourceError(DataError):
    """A source is missing, not readable, or has no reader."""


class FormatError(DataError):
    """A file's content does not match its format."""


class SchemaError(DataError):
    """The columns do not fit the inputs, kinds or target asked for."""


class SplitError(DataError):
    """The rows cannot be split into training, validation and test as asked."""


class ModelError(ModelsError):
    """The model cannot be built."""


class UnknownFamilyError(ModelError):
    """No model family of that name."""


class OptionsError(ModelError):
    """An option of the model, the optimizer, the loss or the training is wrong."""


class UnknownOptionError(OptionsError):
    """The model or the optimizer has no such option.

    Args:
        message: names the options that there are.
        option: the unknown one.
        owner: what has no such option.
    """

    def __init__(self, message: str, option: str, owner: str) -> None:
        self.option, self.owner = option, owner
        super().__init__(message)


class UserModelError(ModelError):
    """The user's own model file is wrong; the message names file and line."""


class TrainingError(ModelsError):
    """The training cannot continue."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite; the message names epoch and batch."""

    @classmethod
    def at(cls, epoch: int, batch: int, batches: int) -> NonFiniteLossError:
        """Of a batch of an epoch, both from 0."""
        return cls(
            f"the loss became NaN or infinite in epoch {epoch + 1}, batch {batch + 1} of {batches}; expected a "
            "finite number; lower training.optimizer.learning_rate, set clipnorm: 1.0 there, or look for "
            "extreme values in the data"
        )


class StoppedError(TrainingError):
    """The process received SIGTERM; the training's state was saved, and the same training resumes from it."""


class GroupError(TrainingError):
    """Not all processes of one training connected; the message names the missing ones."""


class MemberLostError(TrainingError):
    """One process of a training's group was lost; the training resumes when all are started again."""


class GpuNotFoundError(TrainingError):
    """A GPU was asked for and there is none."""


class ExportError(ModelsError):
    """The trained model has no faithful ONNX form; the message says why."""


class UserCodeError(ModelsError):
    """A function or class of the user's project is missing or wrong; the message names file and line."""


class TransformError(UserCodeError):
    """The user's transform fails for some rows, or what it returns is no columns of them.

    Args:
        message: what it did.
        row: the first row that it fails for, counted from 0; None: it fails for rows together, or for any.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        self.row = row
        super().__init__(message)


SHORT = 3  # letters of a name of which one may be wrong, such as l3 for l1


def nearest_name(name: object, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant, for "did you mean"; None where nothing is close."""
    from difflib import get_close_matches  # needed for mistakes alone

    cutoff = 0.5 if len(str(name)) <= SHORT else 0.6  # one letter of two is much; "finished" is not "failed"
    return next(iter(get_close_matches(str(name), list(known), n=1, cutoff=cutoff)), None)


def one_line(error: object) -> str:
    """Someone else's message in one line, without a terminal's colours: Keras prints some of its text bold."""
    return " ".join(COLOURS.sub("", str(error)).split())


def last_line(printed: str) -> str:
    """What a process said last, without a terminal's colours; "" if it said nothing."""
    lines = COLOURS.sub("", printed).strip().splitlines()
    return lines[-1] if lines else ""
