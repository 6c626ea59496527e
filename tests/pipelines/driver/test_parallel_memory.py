"""More trials at once than the memory holds are told, and as many as there are cores are no limit."""

from __future__ import annotations

import pytest

from tests.pipelines.planning.test_plan import FACTS, experiment, searched
from tidegate.pipelines.driver.parallel_memory import LEAST_OF_A_TRIAL, memory_note
from tidegate.pipelines.planning.plan import make_plan


@pytest.mark.parametrize(
    ("trials", "parallelism", "free", "told"),
    [(40, 40, 39, True), (40, 40, 40, False), (3, 40, 3, False), (40, 1, 0, False)],
)
def test_trials_at_once_are_held_against_the_memory(
    trials: int, parallelism: int, free: int, told: bool
) -> None:
    note = memory_note(searched(trials, parallelism=parallelism), free * LEAST_OF_A_TRIAL)
    assert bool(note) is told
    if told:
        assert "40 trials at once take 8.0 GB of memory or more, and 7.8 GB are available" in note


def test_a_run_without_a_search_is_one_trial() -> None:
    assert memory_note(make_plan(experiment(), FACTS), 0) == ""
