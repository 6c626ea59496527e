"""Release numbers, promotion, rollback and deletion, and two writers at once."""

from dataclasses import dataclass, field

import pytest

from tidegate.serving.bundle.measurements import Parity
from tidegate.serving.deployment.release import (
    EndpointState,
    deleted,
    fail,
    keep_newest,
    load,
    promote,
    reserve,
    rollback_target,
    update,
)
from tidegate.serving.errors import ReleaseError


class Conflict(Exception):
    """Another writer was faster."""


@dataclass
class Memory:
    """Documents in memory; each entry of `rivals` is written by someone else before our next write."""

    content: dict[str, bytes] = field(default_factory=dict)
    rivals: list[bytes] = field(default_factory=list)

    def read(self, key: str) -> tuple[bytes, str] | None:
        found = self.content.get(key)
        return None if found is None else (found, str(hash(found)))

    def write(self, key: str, content: bytes, etag: str | None) -> str:
        if self.rivals:
            self.content[key] = self.rivals.pop()
        found = self.read(key)
        if etag != (found and found[1]):
            raise Conflict
        self.content[key] = content
        return str(hash(content))


def _reserve(state: EndpointState, key: str) -> EndpointState:
    parity = Parity(max_abs_difference=0, tolerance=1, rows=1)
    return reserve(
        state, run="r", trial="t", key=key, bundle=key, bento=f"e:{key}", runtime="onnx", parity=parity
    )


@pytest.fixture
def two() -> EndpointState:
    """Releases 1 and 2, 2 live."""
    state = promote(_reserve(EndpointState(name="e"), "a"), 1)
    return promote(_reserve(state, "b"), 2)


def test_numbers_count_up_and_a_key_has_one_release(two: EndpointState) -> None:
    assert [(release.number, release.state) for release in two.releases] == [(1, "retired"), (2, "live")]
    assert _reserve(two, "b") == two
    assert two.find("a") == two.release(1)
    assert _reserve(two, "c").releases[-1].number == 3


def test_a_failed_release_leaves_the_live_one_and_may_be_tried_again(two: EndpointState) -> None:
    state = fail(_reserve(two, "c"), 3)
    assert (state.current, state.release(3).state) == (2, "failed")
    assert _reserve(state, "c").releases[-1].number == 4
    assert fail(state, 2) == state


def test_rollback_goes_to_what_served_before(two: EndpointState) -> None:
    assert rollback_target(two).number == 1
    assert rollback_target(two, to=1).number == 1
    back = promote(two, 1)
    assert (back.current, back.release(2).state) == (1, "retired")
    with pytest.raises(ReleaseError, match="no release before 1"):
        rollback_target(back)
    assert rollback_target(back, to=2).number == 2
    with pytest.raises(ReleaseError, match="has no release 9; its releases are: 1, 2"):
        rollback_target(two, to=9)
    with pytest.raises(ReleaseError, match="is pending; expected one that has served"):
        rollback_target(_reserve(two, "c"), to=3)


@pytest.mark.parametrize(
    ("keep", "left"),
    [(1, [6]), (2, [4, 5, 6]), (3, [2, 3, 4, 5, 6]), (4, [1, 2, 3, 4, 5, 6]), (9, [1, 2, 3, 4, 5, 6])],
)
def test_the_newest_stay(two: EndpointState, keep: int, left: list[int]) -> None:
    state = fail(_reserve(two, "c"), 3)
    state = promote(_reserve(state, "d"), 4)
    state = fail(_reserve(state, "e"), 5)
    state = promote(_reserve(state, "f"), 6)
    trimmed = keep_newest(state, keep)
    assert [known.number for known in trimmed.releases] == left
    assert keep_newest(trimmed, keep) == trimmed
    assert (trimmed.current, _reserve(trimmed, "g").releases[-1].number) == (6, 7)


def test_what_is_live_or_pending_stays_and_no_number_comes_twice(two: EndpointState) -> None:
    """As where an older release went live again meanwhile, and another one is being deployed."""
    back = promote(promote(_reserve(two, "c"), 3), 1)
    assert [known.number for known in keep_newest(back, 1).releases] == [1, 3]
    assert [known.number for known in keep_newest(_reserve(back, "d"), 1).releases] == [1, 4]
    assert [known.number for known in keep_newest(back, 2).releases] == [1, 3]
    assert keep_newest(EndpointState(name="e"), 1) == EndpointState(name="e")


def test_deletion_starts_the_next_incarnation(two: EndpointState) -> None:
    state = deleted(two)
    assert (state.releases, state.current, state.incarnation) == ((), None, 1)
    assert _reserve(state, "a").releases[0].number == 1


def test_update_starts_again_when_another_was_faster() -> None:
    rival = _reserve(EndpointState(name="e"), "rival").model_dump_json().encode()
    documents = Memory(rivals=[rival])
    state = update(documents, "e", lambda state: _reserve(state, "ours"), Conflict)
    assert [release.key for release in state.releases] == ["rival", "ours"]
    assert load(documents, "e") == state
    assert load(documents, "other") == EndpointState(name="other")


def test_update_gives_up_in_words() -> None:
    states = [EndpointState(name="e", port=port).model_dump_json().encode() for port in range(200)]
    documents = Memory(rivals=states)
    with pytest.raises(ReleaseError, match="changed by others"):
        update(documents, "e", lambda state: _reserve(state, "ours"), Conflict)
