"""Which step comes next, as steps end in any order."""

import random

import pytest

from tidegate.pipelines.driver.ready_steps import ReadySteps
from tidegate.pipelines.planning.step import Step
from tidegate.pipelines.step_types.release import VerifyInputs


def step(name: str, *after: str) -> Step:
    return Step(name, "verify", name, VerifyInputs.model_construct, after)


def test_the_first_in_the_plans_order_comes_first() -> None:
    waiting = ReadySteps([step("a"), step("b", "a"), step("c"), step("d", "b", "c", "b")])
    assert [taken.id for taken in iter(waiting.take, None)] == ["a", "c"]
    waiting.has_ended("c")
    assert waiting.take() is None
    waiting.has_ended("a")
    assert [taken.id for taken in iter(waiting.take, None)] == ["b"]
    waiting.has_ended("b")
    waiting.has_ended("b")  # a step that ends twice counts once
    assert [taken.id for taken in iter(waiting.take, None)] == ["d"]
    assert len(waiting) == 0


@pytest.mark.parametrize("seed", range(20))
def test_no_step_begins_before_those_it_waits_for(seed: int) -> None:
    draw = random.Random(seed)
    steps = [
        step(f"s{n}", *{f"s{draw.randrange(n)}" for _ in range(draw.randrange(4)) if n}) for n in range(40)
    ]
    waiting, running, ended = ReadySteps(steps), [], set()
    while len(waiting) or running:
        while (taken := waiting.take()) is not None:
            assert set(taken.after) <= ended
            running.append(taken.id)
        ended.add(one := running.pop(draw.randrange(len(running))))
        waiting.has_ended(one)
    assert len(ended) == len(steps)
