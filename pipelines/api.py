"""Tidegate: from one experiment file to a live prediction endpoint.

    import tidegate

    run = tidegate.submit("churn/experiment.yaml", set={"training.epochs": 5})    # or a dict, or an example's name
    run.wait()                                        # a notebook shows the progress; raises where it did not end well
    run.metrics["test_auc"], run.trials, run.steps, run.logs("train"), run.mlflow_url, run.result
    run.endpoint.predict([{"age": 33, "city": "Pune"}])    # or a table, columns, arrays
    tidegate.endpoint("churn").rollback()
    tidegate.release("churn.keras", rows="rows.csv", column="churned", endpoint="churn")    # a model that is trained
    tidegate.runs(since="7d"), tidegate.compare(run, "churn-1a2b3c4d"), tidegate.plan("digits"), tidegate.check()

What is returned is what the command line prints with `--json`, as typed objects. A submitted run has a driver of its
own: the notebook's kernel, or the program, may end.

TidegateError                1  something failed; the number is the command line's exit code
├── UsageError               2  an argument, a setting or the home is wrong
│   ├── ExperimentError      2  the experiment is wrong: a key, its data or its code
│   └── UnknownNameError     2  no such run, endpoint, release, step or target
├── StepFailedError          1  a step failed
├── RunCancelledError        1  the run was cancelled
├── EndpointError            1  an endpoint does not answer, or refused a row
├── InfrastructureError      1  the store, MLflow or the cluster cannot be reached, or the disk is full
├── GateRefusedError         3  the gate refused the candidate
└── StillRunningError        4  the run had not ended within the timeout

`import tidegate` loads nothing; what is used is loaded then.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate.pipelines.python_api.endpoints import Endpoint, Endpoints, endpoint, endpoints
    from tidegate.pipelines.python_api.errors import (
        EndpointError,
        ExperimentError,
        GateRefusedError,
        InfrastructureError,
        RunCancelledError,
        StepFailedError,
        StillRunningError,
        TidegateError,
        UnknownNameError,
        UsageError,
    )
    from tidegate.pipelines.python_api.overview import check, compare, plan, ui
    from tidegate.pipelines.python_api.results import (
        Checked,
        Compared,
        Comparison,
        EndpointRow,
        Planned,
        ReleaseRow,
        RunResult,
        RunRow,
        StepState,
        Trial,
    )
    from tidegate.pipelines.python_api.runs import Run, Runs, run, runs
    from tidegate.pipelines.python_api.submission import release, submit

    __version__: str
else:  # a type checker knows the names, and refuses others

    def __getattr__(name: str) -> Any:
        """What is asked for, loaded now; `__version__` too, whose importlib.metadata is slower than all else here."""
        if name == "__version__":
            return _version()
        if name not in __all__:
            raise AttributeError(f"module 'tidegate' has no attribute {name!r}")
        from importlib import import_module

        modules = (import_module(f"tidegate.pipelines.python_api.{module}") for module in MODULES)
        return next(vars(module)[name] for module in modules if name in vars(module))


__all__ = [
    "Checked",
    "Compared",
    "Comparison",
    "Endpoint",
    "EndpointError",
    "EndpointRow",
    "Endpoints",
    "ExperimentError",
    "GateRefusedError",
    "InfrastructureError",
    "Planned",
    "ReleaseRow",
    "Run",
    "RunCancelledError",
    "RunResult",
    "RunRow",
    "Runs",
    "StepFailedError",
    "StepState",
    "StillRunningError",
    "TidegateError",
    "Trial",
    "UnknownNameError",
    "UsageError",
    "check",
    "compare",
    "endpoint",
    "endpoints",
    "plan",
    "release",
    "run",
    "runs",
    "submit",
    "ui",
]
MODULES = ("errors", "results", "runs", "submission", "endpoints", "overview")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tidegate")
    except PackageNotFoundError:  # in an image or a bento, which hold the files alone
        return "0"
