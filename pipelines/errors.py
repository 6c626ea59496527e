"""What can go wrong in a pipeline, each error with the exit code a shell sees.

PipelineError                    1  something failed
├── UsageError                   2  the command line, the experiment or the home is wrong
│   ├── ExperimentError          2  the experiment file is wrong
│   └── UnknownNameError         2  no such run, endpoint, step or target
├── StepError                    1  a step failed; carries the step and its log
├── CancelledError               1  the run was cancelled
├── ChampionChangedError         1  another run was promoted meanwhile; the gate must compare again
├── CanaryError                  1  a canary did worse than the champion, or could not be judged
└── RefusedError                 3  the gate refused the candidate
"""

import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tidegate.infra.errors import InfraError
from tidegate.infra.system.files import FULL
from tidegate.models.errors import ModelsError, nearest_name, one_line
from tidegate.serving.errors import ServingError


class PipelineError(Exception):
    """Base of everything the pipeline raises on purpose.

    Attributes:
        data: what `--json` prints instead of the error, such as the state of a failed run; None: the error itself.
        trace: the traceback of a step in another process, for `--debug`.
    """

    data: Any = None
    trace: str = ""


class UsageError(PipelineError):
    """The command line, the experiment or the home is wrong."""


class ExperimentError(UsageError):
    """The experiment file is wrong."""


class UnknownNameError(UsageError):
    """No run, endpoint, step or target of this name."""

    def __init__(self, what: str, name: str, known: Iterable[str], fix: str) -> None:
        """Name what was received, the nearest known name and the command that lists all."""
        super().__init__(f'no {what} "{name}" here{nearest(name, known)}; {fix}')


class StepError(PipelineError):
    """A step failed."""

    def __init__(self, step: str, message: str, trace: str = "", kind: str = "") -> None:
        """Keep the step's id, its own traceback for `--debug`, and the name of the error's class."""
        super().__init__(f"step {step} failed: {message}")
        self.step = step
        self.message = message
        self.trace = trace
        self.kind = kind


class CancelledError(PipelineError):
    """The run was cancelled by the user."""


class ChampionChangedError(PipelineError):
    """Another run was promoted since the gate compared."""


class CanaryError(PipelineError):
    """A canary did worse than the champion, or could not be judged; the champion has all the traffic."""


class RefusedError(PipelineError):
    """The gate refused the candidate, or a person did.

    Attributes:
        by_person: a person did.
    """

    def __init__(self, message: str, *, by_person: bool = False) -> None:
        super().__init__(message)
        self.by_person = by_person


@contextmanager
def writing_into(folder: Path | str) -> Iterator[None]:
    """Raise an OSError as a UsageError about the folder that a command was told to write its files into."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror}; expected a folder of yours; choose another"
        ) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that suggests the nearest known name; empty when none is near.

    Args:
        name: what was received.
        known: the names that exist.
    """
    return suggested(nearest_name(name, known))


def suggested(near: str | None) -> str:
    """The end of a sentence that suggests a name; empty when there is none."""
    return f'; did you mean "{near}"?' if near else ""


# Other libraries end their messages with a full stop, which ours quote in the middle of a sentence.
QUOTED_STOP = re.compile(r"(?<![.\s])\.; ")
OURS = (PipelineError, ModelsError, ServingError, InfraError)


def error_message(error: BaseException) -> str:
    """An error in a sentence: our own say everything, others get their type and place."""
    if isinstance(error, OURS):
        return QUOTED_STOP.sub("; ", str(error))
    if isinstance(error, OSError) and error.errno in FULL:
        return f"the disk is full, writing {error.filename or 'to the home'}; free some space, or choose another --home"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename or ''}"
    if isinstance(error, MemoryError):
        return "out of memory; give the step more (resources.memory), or use smaller batches or data"
    place = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    where = f" ({Path(place.filename).name}:{place.lineno})" if place else ""
    return f"unexpected {type(error).__name__}: {one_line(error)}{where}; --debug shows the traceback"
