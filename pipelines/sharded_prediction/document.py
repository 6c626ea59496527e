"""The documents of a batch prediction, as they lie in its output."""

from typing import Any

from pydantic import BaseModel, ConfigDict

PLAN = "_batch/plan.json"
DONE, FAILED = "_batch/done/", "_batch/failed/"
MANIFEST, SUCCESS = "_manifest.json", "_SUCCESS"


class Document(BaseModel):
    """Immutable; an unknown key is an error."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    def content(self) -> bytes:
        """As JSON, the same for the same document."""
        return self.model_dump_json(indent=1).encode()


class InputFile(Document):
    """A file to predict: path or URL, bytes, and what names its content: a bucket's etag, or `sha256:` and a digest."""

    path: str
    size: int
    etag: str


class BatchPlan(Document):
    """What is predicted, fixed when it begins.

    Attributes:
        model, release: the endpoint and its release; None of a bundle's folder.
        bundle: its digest.
        format: of the output: csv or jsonl.
        csv: what is stated of the dialect of .csv files, see `CsvOptions`.
        shards: number of parts.
        inputs: the files in the order of their rows.
    """

    model: str
    release: int | None
    bundle: str
    format: str
    csv: dict[str, Any]
    shards: int
    inputs: tuple[InputFile, ...]

    def part(self, shard: int) -> str:
        """The name of a shard's file; their sorted names are the order of the rows."""
        return f"part-{shard:05d}-of-{self.shards:05d}.{self.format}"

    @property
    def parts(self) -> list[str]:
        """Every part's name, in order."""
        return [self.part(shard) for shard in range(self.shards)]


class RowRange(Document):
    """Rows of an input file, by number from 0, or the file itself where a file is a row."""

    file: str
    first: int
    rows: int


class ShardDone(Document):
    """A finished shard: its part's SHA-256 (hex), bytes and rows, the rows of the input that they are of, and notes.

    `notes` are what a user should know of the files that were read.
    """

    shard: int
    part: str
    sha256: str
    size: int
    rows: int
    ranges: tuple[RowRange, ...]
    notes: tuple[str, ...] = ()


class ShardFailed(Document):
    """A shard that cannot be predicted, and why, with file and rows."""

    shard: int
    message: str


class Manifest(Document):
    """The complete output: `rows` in `parts`, in order."""

    plan: BatchPlan
    rows: int
    parts: tuple[ShardDone, ...]


def number_of(name: str) -> int:
    """The shard of a document's name."""
    return int(name.rpartition("/")[2].removesuffix(".json"))


def name_of(kind: str, shard: int) -> str:
    """The name of a shard's document of a kind, DONE or FAILED."""
    return f"{kind}{shard:05d}.json"


def differences(known: BatchPlan, asked: BatchPlan) -> list[str]:
    """What a plan has otherwise than another one, a sentence each."""
    names = {
        "model": "endpoint",
        "release": "release",
        "format": "format",
        "csv": "--csv",
        "shards": "shards",
    }
    found = [
        f"{told} {_shown(getattr(known, name))} then, {_shown(getattr(asked, name))} now"
        for name, told in names.items()
        if getattr(known, name) != getattr(asked, name)
    ]
    if known.bundle != asked.bundle and known.release == asked.release:
        found.append(f"bundle {known.bundle[:12]} then, {asked.bundle[:12]} now")
    return found + _changed_inputs(known, asked)


def _changed_inputs(known: BatchPlan, asked: BatchPlan) -> list[str]:
    before, now = ({file.path: file for file in plan.inputs} for plan in (known, asked))
    found = [f"{path} is no longer there" for path in before if path not in now]
    found += [f"{path} was not there" for path in now if path not in before]
    found += [f"{path} changed" for path in now if path in before and now[path] != before[path]]
    if not found and list(before) != list(now):
        found = ["the inputs have another order"]
    return found if len(found) <= 3 else [*found[:3], f"and {len(found) - 3} more files"]


def _shown(value: Any) -> str:
    return (
        " ".join(f"{key}={text}" for key, text in value.items()) or "none"
        if isinstance(value, dict)
        else str(value)
    )
