"""The errors of the API: each error of ours has one, with the exit code of the command line."""

import re
from typing import TypeVar

import pytest

import tidegate
from tidegate.infra import errors as infra
from tidegate.models import errors as models
from tidegate.pipelines import errors as inner
from tidegate.pipelines.python_api import errors
from tidegate.pipelines.python_api.errors import public, public_error
from tidegate.serving import errors as serving

Raised = TypeVar("Raised", bound=Exception)
MADE: list[tuple[Exception, str, int]] = [
    (inner.UsageError("no"), "UsageError", 2),
    (inner.ExperimentError("no"), "ExperimentError", 2),
    (inner.UnknownNameError("run", "a", [], "look"), "UnknownNameError", 2),
    (inner.StepError("train-0", "no", "trace"), "StepFailedError", 1),
    (inner.CancelledError("no"), "RunCancelledError", 1),
    (inner.RefusedError("no"), "GateRefusedError", 3),
    (inner.CanaryError("no"), "TidegateError", 1),
    (models.SchemaError("no"), "ExperimentError", 2),
    (serving.ReleaseError("no"), "UnknownNameError", 2),
    (serving.ScoringError("no"), "EndpointError", 1),
    (infra.MissingObjectError("no"), "InfrastructureError", 1),
    (PermissionError(13, "Permission denied", "x"), "InfrastructureError", 1),
    (ZeroDivisionError("no"), "TidegateError", 1),
]


@pytest.mark.parametrize(("error", "name", "code"), MADE, ids=lambda part: type(part).__name__)
def test_each_error_has_its_class_and_exit_code(error: Exception, name: str, code: int) -> None:
    found = public_error(error)
    assert (type(found).__name__, found.exit_code, str(found)) == (name, code, inner.error_message(error))
    assert isinstance(found, tidegate.TidegateError)


def _all(kind: type[Raised]) -> set[type[Raised]]:
    return {kind} | {below for child in kind.__subclasses__() for below in _all(child)}


def test_every_error_of_ours_is_mapped_by_its_own_tree() -> None:
    bases = (inner.PipelineError, models.ModelsError, serving.ServingError, infra.InfraError)
    for kind in {found for base in bases for found in _all(base)}:
        first = next(known for known, _ in errors.TABLE if issubclass(kind, known))
        assert first is not Exception, kind


def test_the_cause_the_data_and_the_step_are_kept() -> None:
    inside = inner.StepError("train-0", "no", "its trace")
    inside.data = {"status": "failed"}

    @public
    def fails() -> None:
        raise inside

    with pytest.raises(tidegate.StepFailedError) as caught:
        fails()
    found = caught.value
    assert found.__cause__ is inside
    assert (found.data, found.trace, found.step) == ({"status": "failed"}, "its trace", "train-0")


def test_both_pictures_of_the_tree_are_the_tree() -> None:
    for page in (tidegate.__doc__ or "", errors.__doc__ or ""):
        drawn = re.findall(r"(\w+Error) +(\d)", page)
        tree = _all(tidegate.TidegateError)
        assert {name: int(code) for name, code in drawn} == {kind.__name__: kind.exit_code for kind in tree}
