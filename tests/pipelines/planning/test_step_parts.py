"""What a step leaves for the next is finite: NaN in its document would end a later step."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from tidegate.pipelines.executors.base import StepCall
from tidegate.pipelines.executors.forking.imports import build_models
from tidegate.pipelines.planning.step import INPUTS
from tidegate.pipelines.step_types.base import StepPart


class Left(StepPart):
    value: float = 0.0
    metrics: dict[str, float] = Field({})
    curve: tuple[float, ...] = ()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["value", "metrics", "curve"])
def test_a_number_that_is_not_finite_is_refused_where_it_is_made(place: str, bad: float) -> None:
    values = {"value": bad, "metrics": {"test_auc": bad}, "curve": (0.1, bad)}
    with pytest.raises(ValidationError, match=rf"{place}(.|\n)*finite number"):
        Left.model_validate({place: values[place]})


def test_what_is_built_when_it_is_used_can_be_built() -> None:
    build_models()
    for model in (StepCall, *INPUTS.values()):
        assert model.__pydantic_complete__
        assert model.model_json_schema()["type"] == "object"
