"""What the Python API raises, each with the exit code that the command line ends with for it.

TidegateError                1  something failed
├── UsageError               2  an argument, a setting or the home is wrong
│   ├── ExperimentError      2  the experiment is wrong: a key, its data or its code; names the key
│   └── UnknownNameError     2  no such run, endpoint, release, step or target
├── StepFailedError          1  a step failed; `step` is its id, `trace` its traceback where it is known
├── RunCancelledError        1  the run was cancelled
├── EndpointError            1  an endpoint does not answer, or refused a row; names the row
├── InfrastructureError      1  the store, MLflow or the cluster cannot be reached, or the disk is full
├── GateRefusedError         3  the gate refused the candidate
└── StillRunningError        4  the run had not ended within the timeout

The cause (`__cause__`) is the error as it was raised inside. `data` is what `--json` prints: of a run that did not end
well its result, so that `error.data["metrics"]` is there after a refusal too.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from tidegate.infra.errors import InfraError
from tidegate.models.errors import ModelsError
from tidegate.pipelines import errors as inner
from tidegate.serving.errors import ReleaseError, ServingError

Params = ParamSpec("Params")
Returned = TypeVar("Returned")


class TidegateError(Exception):
    """Base of everything that the Python API raises on purpose.

    Attributes:
        exit_code: what the command line ends with.
        data: what `--json` prints instead of the error, such as the result of a failed run; None: the error itself.
        trace: the traceback in another process, where there is one.
    """

    exit_code = 1

    def __init__(self, message: str, data: Any = None, trace: str = "") -> None:
        super().__init__(message)
        self.data = data
        self.trace = trace


class UsageError(TidegateError):
    """An argument, a setting or the home is wrong."""

    exit_code = 2


class ExperimentError(UsageError):
    """The experiment is wrong; names the key, what was received and what was expected."""


class UnknownNameError(UsageError):
    """No run, endpoint, release, step or target of this name."""


class StepFailedError(TidegateError):
    """A step failed.

    Attributes:
        step: the step's id; "" where the run failed outside of its steps.
    """

    def __init__(self, message: str, data: Any = None, trace: str = "", step: str = "") -> None:
        super().__init__(message, data, trace)
        self.step = step


class RunCancelledError(TidegateError):
    """The run was cancelled."""


class EndpointError(TidegateError):
    """An endpoint does not answer, or refused a row."""


class InfrastructureError(TidegateError):
    """The store, MLflow or the cluster cannot be reached, or the disk is full."""


class GateRefusedError(TidegateError):
    """The gate refused the candidate."""

    exit_code = 3


class StillRunningError(TidegateError, TimeoutError):
    """The run had not ended within the timeout; it continues."""

    exit_code = 4


# The first class that matches counts.
TABLE: list[tuple[type[Exception], type[TidegateError]]] = [
    (inner.UnknownNameError, UnknownNameError),
    (inner.ExperimentError, ExperimentError),
    (inner.UsageError, UsageError),
    (inner.RefusedError, GateRefusedError),
    (inner.CancelledError, RunCancelledError),
    (inner.StepError, StepFailedError),
    (inner.PipelineError, TidegateError),
    (ModelsError, ExperimentError),  # raised before any step runs: the experiment is wrong
    (ReleaseError, UnknownNameError),  # `rollback` to a release that does not exist
    (ServingError, EndpointError),
    (InfraError, InfrastructureError),
    (OSError, InfrastructureError),
    (Exception, TidegateError),
]


def public_error(error: Exception) -> TidegateError:
    """The error of this tree for any other; one of the tree is returned as it is."""
    if isinstance(error, TidegateError):
        return error
    kind = next(public for found, public in TABLE if isinstance(error, found))
    made = kind(inner.error_message(error), getattr(error, "data", None), getattr(error, "trace", ""))
    if isinstance(made, StepFailedError):
        made.step = getattr(error, "step", "")
    return made


def public(function: Callable[Params, Returned]) -> Callable[Params, Returned]:
    """A function of the API: whatever it raises is an error of this tree."""

    @functools.wraps(function)
    def called(*args: Params.args, **kwargs: Params.kwargs) -> Returned:
        try:
            return function(*args, **kwargs)
        except TidegateError:
            raise
        except Exception as error:
            raise public_error(error) from error

    return called
