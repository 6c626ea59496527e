"""The output as a whole: claimed by one plan, looked at while shards end, and completed when all of them have."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.sharded_prediction.document import (
    DONE,
    FAILED,
    MANIFEST,
    PLAN,
    SUCCESS,
    BatchPlan,
    Manifest,
    ShardDone,
    ShardFailed,
    differences,
    name_of,
    number_of,
)
from tidegate.pipelines.sharded_prediction.place import STATE, OutputPlace

OURS = f"{STATE}/"
AT_ONCE = 16  # small documents that are read at a time


class Ran(NamedTuple):
    """The shards that a command had predicted, and which of them failed; None: nobody has waited for that."""

    tried: list[int]
    failed: list[ShardFailed] | None


@dataclass(frozen=True)
class Progress:
    """What has become of the shards so far, by their numbers."""

    done: frozenset[int]
    failed: frozenset[int]


def claim(place: OutputPlace, plan: BatchPlan) -> bool:
    """Make the output this plan's, or find that it is already; whether it is new.

    Raises:
        UsageError: it is another one's, or holds other files.
    """
    known = place.read(PLAN)
    if known is None:
        _check_alone(place, plan)
        if place.create(PLAN, plan.content()):
            return True
        known = place.read(PLAN) or b""
    if known != plan.content():
        told = "; ".join(differences(parsed(place, known), plan))
        raise UsageError(
            f"--output {place.url} holds another prediction: {told or 'of another version'}; expected the same "
            "command as before, which goes on with it, or an empty place; choose another --output, or remove that one"
        )
    _check_alone(place, plan)
    return False


def parsed(place: OutputPlace, text: bytes) -> BatchPlan:
    """The plan of an output; raises UsageError where another version of this product wrote it."""
    try:
        return BatchPlan.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(
            f"--output {place.url} holds a prediction of another version of Tidegate ({PLAN}: "
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}); expected one of this version; go on with that "
            "version, or choose another --output"
        ) from error


def _check_alone(place: OutputPlace, plan: BatchPlan) -> None:
    expected = {*plan.parts, MANIFEST, SUCCESS}
    other = next((name for name in place.sizes() if name not in expected and not name.startswith(OURS)), None)
    if other is not None:
        raise UsageError(
            f"--output {place.url} is not empty: it has {other}; expected an empty place, as everything in it would be "
            "taken for predictions; choose another"
        )


def progress(place: OutputPlace) -> Progress:
    """Which shards are done, and which have failed."""
    return Progress(_shards(place, DONE), _shards(place, FAILED))


def _shards(place: OutputPlace, kind: str) -> frozenset[int]:
    return frozenset(map(number_of, place.sizes(kind)))


def remaining(place: OutputPlace, plan: BatchPlan) -> list[int]:
    """The shards that are to be predicted; a part that is gone is one of them, and a failure before is forgotten."""
    said = done_shards(place, _shards(place, DONE))
    sizes = place.sizes()  # later, so that what is done has its part in it, whoever writes meanwhile
    known = {name_of(DONE, done.shard) for done in said}
    whole = {done.shard for done in said if sizes.get(done.part) == done.size}
    left = []
    for shard in range(plan.shards):
        if shard in whole:
            continue
        left.append(shard)
        failed = {name_of(FAILED, shard)} & sizes.keys()
        for name in failed | ({name_of(DONE, shard)} & known):
            place.delete(name)
    if left:  # a part of a complete output is gone
        for name in (SUCCESS, MANIFEST):
            place.delete(name)
    return left


def done_shards(place: OutputPlace, shards: Iterable[int]) -> list[ShardDone]:
    """What finished shards have left, in order; one whose document is gone by now is left out."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        texts = pool.map(lambda shard: place.read(name_of(DONE, shard)), sorted(shards))
        return [ShardDone.model_validate_json(text) for text in texts if text is not None]


def failures(place: OutputPlace, shards: Iterable[int]) -> list[ShardFailed]:
    """Why shards failed, where they could say so."""
    texts = (place.read(name_of(FAILED, shard)) for shard in sorted(shards))
    return [ShardFailed.model_validate_json(text) for text in texts if text is not None]


def fail(place: OutputPlace, shard: int, message: str) -> ShardFailed:
    """Leave word of a failed shard."""
    failed = ShardFailed(shard=shard, message=message)
    place.delete(name_of(FAILED, shard))
    place.create(name_of(FAILED, shard), failed.content())
    return failed


def complete(place: OutputPlace, plan: BatchPlan) -> Manifest | None:
    """Write the manifest and the mark of success once all shards are done; None before that.

    It may be called by several at once, and again.
    """
    if (text := place.read(MANIFEST)) is None:
        done = _shards(place, DONE)
        # Each shard that ends asks: nothing is read before the last one has.
        parts = tuple(done_shards(place, done)) if len(done) >= plan.shards else ()
        if len(parts) < plan.shards:
            return None
        text = Manifest(plan=plan, rows=sum(part.rows for part in parts), parts=parts).content()
        place.create(MANIFEST, text)
    place.create(SUCCESS, b"")
    return Manifest.model_validate_json(text)


def told(what: ShardDone | ShardFailed, plan: BatchPlan) -> str:
    """A line for what has become of a shard."""
    where = f"shard {what.shard} of {plan.shards}"
    if isinstance(what, ShardFailed):
        return f"{where} failed: {what.message}"
    return f"{where}: {what.rows} rows in {what.part}"
