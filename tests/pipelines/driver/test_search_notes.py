"""What of a search has no effect, or more trials at once than the memory holds, is told."""

from __future__ import annotations

import pytest

from tests.pipelines.planning.test_plan import FACTS, experiment, searched
from tidegate.pipelines.driver.search_notes import LEAST_OF_A_TRIAL, memory_note, search_notes
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


def test_what_has_no_effect_is_told() -> None:
    plan = searched(4, parallelism=4, pack=2, pruning={"rule": "median"})
    pack, pruning = search_notes(plan, local=True, free=10**12)
    assert "search.pack is 2" in pack and "no effect" in pack
    assert "search.pruning stops no trial" in pruning and "there are 4" in pruning
    assert list(search_notes(plan, local=False, free=0)) == [pruning]
    assert list(search_notes(searched(5, parallelism=4), local=True, free=10**12)) == []
