"""What is said of the answers to recorded rows, and when a rule of the gate is applied."""

import pytest

from tidegate.pipelines.experiment.gate import Criterion
from tidegate.pipelines.step_types.replay import Replayed
from tidegate.pipelines.steps.releasing.replay import LEAST_ROWS, told_of_refusal, why_no_rule
from tidegate.serving.errors import ClientError, ContractError


@pytest.mark.parametrize(
    ("live", "dropped", "rows", "told"),
    [
        (None, [], 0, "before the first release"),
        (3, ["email"], 900, "what release 3 recorded lacks email"),
        (3, [], 0, "recorded nothing yet"),
        (3, [], LEAST_ROWS - 1, "49 recorded rows are fewer than the 50 that decide"),
        (3, [], LEAST_ROWS, ""),
    ],
)
def test_too_few_rows_decide_nothing(live: int | None, dropped: list[str], rows: int, told: str) -> None:
    note = why_no_rule(live, dropped, rows)
    assert told in note and bool(note) == bool(told)


def test_a_refusal_is_told_without_a_value() -> None:
    quoted = ContractError("amount", "'Needle-7f3a'", "a number", "send a number", 0)
    error = ClientError(f"answered 400: {quoted}", 400, {"type": "invalid_request", **quoted.detail()})
    assert told_of_refusal(error) == "HTTP 400 invalid_request at 'amount'"
    assert told_of_refusal(ClientError("answered 503: Needle-7f3a", 503)) == "HTTP 503"


def test_what_was_left_out_is_told_beside_what_was_asked() -> None:
    found = Replayed(live=3, rows=60, agreed=60, note="1 segment cannot be read")
    assert found.summary.endswith("p99 0 ms; 1 segment cannot be read")


@pytest.mark.parametrize("wanted", [0, 0.1, -1])
def test_an_improvement_on_the_champion_is_refused(wanted: float) -> None:
    rule = {"metric": "replay_agreement", "minimum": 0.9}
    with pytest.raises(ValueError, match="so there is no improve_on_champion; expected minimum or maximum"):
        Criterion.model_validate({**rule, "improve_on_champion": wanted})
    found = Criterion.model_validate(rule)
    assert Criterion.model_validate(found.model_dump()) == found  # as a plan is kept
