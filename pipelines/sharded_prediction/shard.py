"""One shard: reads its rows, predicts them, and leaves its part in the output, whole."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tidegate.infra.errors import InfraError
from tidegate.infra.store import digest_of
from tidegate.infra.system.files import temporary
from tidegate.models.data.data_warnings import recorded
from tidegate.models.data.read_options import CsvOptions
from tidegate.pipelines.batch import BatchInput, Rows, open_batch_input
from tidegate.pipelines.batch.output_file import Named, RowKeys, Write, writing
from tidegate.pipelines.errors import OURS, PipelineError, error_message
from tidegate.pipelines.sharded_prediction.document import (
    DONE,
    MANIFEST,
    SUCCESS,
    BatchPlan,
    RowRange,
    ShardDone,
    name_of,
)
from tidegate.pipelines.sharded_prediction.inputs import InputReader
from tidegate.pipelines.sharded_prediction.place import OutputPlace
from tidegate.pipelines.sharded_prediction.splitting import Piece, pieces_of
from tidegate.pipelines.sharded_prediction.units import Unit, units_of
from tidegate.serving.inference.bulk_scoring import OFFLINE_THREADS, Scorer, chunk_rows, score


class ShardError(PipelineError):
    """A shard cannot be predicted, whoever tries it; names its file and rows."""


class _FileAndRow:
    """Rows by their file and their number in it; in a .jsonl not at all, as it is what the endpoint answers."""

    columns = ("file", "row")

    def __init__(self) -> None:
        self.file = ""

    def of(self, row: int) -> list[Any]:
        """File and number."""
        return [self.file, row]

    def name(self, row: int) -> None:
        """None: the manifest says of which rows a part is."""


class ShardRunner:
    """Predicts shards of a plan with one loaded model.

    Args:
        plan: what is predicted.
        place: the output.
        reader: gives the inputs.
        scorer: predicts rows.
        contract: of the bundle, as `GET /contract` gives it.
        work: a folder for a part that is being written.
        tell: called with the number of rows that were just predicted.
    """

    def __init__(
        self,
        plan: BatchPlan,
        place: OutputPlace,
        reader: InputReader,
        scorer: Scorer,
        contract: dict[str, Any],
        work: Path,
        tell: Callable[[int], None],
    ) -> None:
        self._plan, self._place, self._reader, self._scorer = plan, place, reader, scorer
        self._contract, self._work, self._tell = contract, work, tell
        self._rows = chunk_rows(contract)
        self._units = units_of(plan.inputs, contract["inputs"], self._rows)
        self._names: dict[str, str] = {}  # of the inputs, by the path of a copy

    def run(self, shard: int) -> ShardDone:
        """Predict a shard; one that is done already is only read.

        Raises:
            ShardError: its rows, or the input, are wrong.
            InfraError: input or output cannot be reached; it may work later.
        """
        known = self._place.read(name_of(DONE, shard))
        if known is not None:
            return ShardDone.model_validate_json(known)
        path = temporary(self._work)
        try:
            with recorded() as sentences:
                ranges = self._write(shard, path)
            done = ShardDone(
                shard=shard,
                part=self._plan.part(shard),
                sha256=digest_of(path),
                size=path.stat().st_size,
                rows=sum(one.rows for one in ranges),
                ranges=tuple(ranges),
                notes=tuple(dict.fromkeys(map(self._as_named, sentences))),
            )
            return self._keep(done, path)
        finally:
            path.unlink(missing_ok=True)

    def _keep(self, done: ShardDone, path: Path) -> ShardDone:
        """Leave the part, and then the document that says so; another attempt may have been first.

        On unlike CPUs two attempts differ in bits, and of two that upload at once nobody knows whose part is there. So
        the one whose document comes second takes the other's back, and what was told of it, and leaves its own.
        """
        name = name_of(DONE, done.shard)
        if (known := self._place.read(name)) is not None:
            return ShardDone.model_validate_json(known)
        while True:
            self._place.upload(path, done.part)
            if self._place.create(name, done.content()):
                return done
            other = self._place.read(name)
            if other is not None and (found := ShardDone.model_validate_json(other)).sha256 == done.sha256:
                return found
            for told in (SUCCESS, MANIFEST, name):
                self._place.delete(told)

    def _write(self, shard: int, path: Path) -> list[RowRange]:
        ranges: list[RowRange] = []
        pieces = list(pieces_of([unit.size for unit in self._units], self._plan.shards, shard))
        names: list[str] = []
        in_tables = _FileAndRow()
        keys: RowKeys = Named(names) if self._units[0].are_rows else in_tables
        with writing(path, self._plan.format, self._contract, keys) as write:
            for piece in pieces:
                unit = self._units[piece.unit]
                if unit.are_rows:
                    ranges += self._files(unit, piece, names, write)
                else:
                    in_tables.file = unit.files[0].path
                    ranges += self._table(unit, piece, write)
        return ranges

    def _files(self, unit: Unit, piece: Piece, names: list[str], write: Write) -> Iterator[RowRange]:
        """Files that are rows: a group is of the shard that has its end."""
        if piece.end != piece.size:
            return
        start = len(names)
        names += [file.path for file in unit.files]
        with ExitStack() as stack:
            paths = [stack.enter_context(self._reader.local(file)) for file in unit.files]
            self._names |= {str(path): file.path for path, file in zip(paths, unit.files, strict=True)}
            with self._of_input():
                self._predict(self._opened(paths).chunks, start, write)
        yield from (RowRange(file=file.path, first=0, rows=1) for file in unit.files)

    def _table(self, unit: Unit, piece: Piece, write: Write) -> Iterator[RowRange]:
        (file,) = unit.files
        with self._reader.local(file) as path, self._of_input(file.path):
            self._names[str(path)] = file.path
            opened = self._opened([path])
            first, chunks = _chosen(opened, piece)
            rows = self._predict(chunks, first, write)
        if rows:
            yield RowRange(file=file.path, first=first, rows=rows)

    def _opened(self, paths: list[Path]) -> BatchInput:
        stated = CsvOptions.of(self._plan.csv) if self._plan.csv else None
        as_files = bool(self._contract.get("detection"))
        return open_batch_input(list(map(str, paths)), self._contract["inputs"], self._rows, as_files, stated)

    def _predict(self, chunks: Iterable[Rows], first: int, write: Write) -> int:
        """Predict and write chunks; their number of rows."""
        rows, begun = 0, iter(chunks)
        head = next(begun, None)
        if head is None:  # `score` would ask for rows
            return 0
        for part in score(_with(head, begun), self._scorer, OFFLINE_THREADS, first):
            write(part.predictions, part.start)
            rows += len(part.predictions)
            self._tell(len(part.predictions))
        return rows

    @contextmanager
    def _of_input(self, file: str = "") -> Iterator[None]:
        """Turn what is wrong with rows into a ShardError with the names of the inputs for those of their copies."""
        try:
            yield
        except InfraError:
            raise
        except OURS as error:
            message = self._as_named(error_message(error))
            where = f"{file}: " if file and file not in message else ""
            raise ShardError(f"{where}{message}") from error

    def _as_named(self, sentence: str) -> str:
        for copy, name in self._names.items():
            sentence = sentence.replace(copy, name)
        return sentence


def _with(head: Rows, others: Iterator[Rows]) -> Iterator[Rows]:
    yield head
    yield from others


def _chosen(opened: BatchInput, piece: Piece) -> tuple[int, Iterator[Rows]]:
    """The chunks of a piece, and the number of their first row."""
    if piece.is_whole:
        return 0, opened.chunks
    counts = [part.count for part in opened.parts]
    first, last = piece.bounds(len(counts))
    return sum(counts[:first]), (part.rows() for part in islice(opened.parts, first, last))
