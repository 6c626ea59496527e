"""Rows that pass by once, a chunk at a time: each is assigned to its part, and training rows go to shards."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, concat, rows_of, take
from tidegate.models.data.shards import ShardWriter
from tidegate.models.errors import SplitError
from tidegate.models.preprocessing.column_scan import ColumnScan
from tidegate.models.preprocessing.prepare import Prepared, whole_fingerprint
from tidegate.models.preprocessing.profile.split_leaks import FirstRows
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.splitting.cell_digests import Digests
from tidegate.models.preprocessing.splitting.group_split import PURPOSE as GROUPS
from tidegate.models.preprocessing.splitting.row_identity import (
    CopyCounter,
    content_digests,
    input_digests,
    share_of,
)
from tidegate.models.preprocessing.splitting.rules import SplitRules, group_digests
from tidegate.models.preprocessing.splitting.splits import ORDER, PARTS, fingerprint
from tidegate.models.preprocessing.summary import ColumnSummary
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.models.preprocessing.transforms import Transforms, TransformsFitter

if TYPE_CHECKING:
    from tidegate.models.preprocessing.prepare_streamed import StreamedData

HELD_OUT_ROWS = 10_000  # of validation and of test each: the standard error of a share is then half a percent
SAMPLE_ROWS = 20_000  # training rows that drift is measured against
PART = 64  # each of these sets of rows may take 1 / PART of the memory


class StreamSplitter:
    """Assigns rows to the splits as they pass."""

    def __init__(self, data: StreamedData, schema: Schema, scan: ColumnScan, rules: SplitRules) -> None:
        self._schema, self._group = schema, rules.group
        fitting = int(data.memory / PART / max(1.0, scan.bytes_per_row()))
        held_out = max(1, min(HELD_OUT_ROWS, fitting))
        # Of the validation rows' numbers, whatever part of the test fraction is used.
        self._start = rules.test
        self._test = _fitting(rules.test, scan.rows, held_out)
        self._validation = _fitting(rules.validation, scan.rows, held_out)
        self._step = -(-scan.rows // max(1, min(SAMPLE_ROWS, fitting)))
        self._seed = rules.seed
        self._copies = CopyCounter(scan.rows, data.memory // PART)
        self._learned = data.folder / "learned.u64"
        self._learned.write_bytes(b"")
        self._units: dict[str, list[Digests]] = {"validation": [], "test": []}
        self._writer, self._digest = ShardWriter(data.folder, data.keep), hashlib.sha256()
        self._fitter = TransformsFitter(schema)
        self.first = FirstRows(held_out)  # as many rows as a part may have
        self._rows = {"train": 0, "validation": 0, "test": 0}
        self._kept: dict[str, list[Columns]] = {name: [] for name in self._rows}
        self._counts = {name: np.zeros(len(schema.target.classes), np.int64) for name in self._rows}
        self._summaries = {field.name: ColumnSummary(field) for field in schema.inputs}
        if schema.target.task == "regression":
            self._summaries |= {name: ColumnSummary(None) for name in schema.target.names}

    def add(self, columns: Columns) -> None:
        """Assign more rows."""
        content = content_digests(self._schema, columns, input_digests(self._schema, columns))
        units = self._copies.units(content)
        shares = self._shares(columns, units)
        test = shares < self._test
        validation = (shares >= self._start) & (shares < self._start + self._validation)
        masks = {"test": test, "validation": validation, "train": ~(test | validation)}
        parts = {name: np.flatnonzero(chosen) for name, chosen in masks.items()}
        self.first.add(columns, parts)
        for name, rows in parts.items():
            self._add_part(name, take(columns, rows), units[rows])
        for name, summary in self._summaries.items():
            summary.add(columns[name])

    def _shares(self, columns: Columns, units: Digests) -> NDArray[np.float64]:
        """The number that decides the part, the same for rows that stay together: those of a group, or copies."""
        if self._group is None:
            return share_of(units, PARTS, self._seed)
        return share_of(group_digests(self._group, columns[self._group]), GROUPS, self._seed)

    def _add_part(self, name: str, part: Columns, units: Digests) -> None:
        before = self._rows[name]
        self._rows[name] += rows_of(part)
        if self._schema.target.task == "classification":
            places = encode_target(self._schema, part)
            self._counts[name] += np.bincount(places, minlength=len(self._counts[name]))
        if name != "test":
            with self._learned.open("ab") as file:
                file.write(units.astype("<u8").tobytes())
        if name == "train":
            self._writer.add(part)
            self._digest.update(fingerprint(part).encode())
            self._fitter.add(part)
            part = take(part, np.flatnonzero((before + np.arange(rows_of(part))) % self._step == 0))
        else:
            self._units[name].append(units)
        self._kept[name].append(part)

    def _learn_every_class(self, splits: dict[str, Columns], units: dict[str, Digests]) -> None:
        """Move the held-out row with the highest number of each class without training rows into training."""
        for place in np.flatnonzero(self._counts["train"] == 0).tolist():
            for name in ("validation", "test"):
                own = np.flatnonzero(encode_target(self._schema, splits[name]) == place)
                if not len(own):
                    continue
                shares = self._shares(splits[name], units[name])
                moved = shares == shares[own].max()
                moved_rows = take(splits[name], np.flatnonzero(moved))
                self._add_part("train", moved_rows, units[name][moved])
                splits[name], units[name] = take(splits[name], np.flatnonzero(~moved)), units[name][~moved]
                self._rows[name] -= int(moved.sum())
                places = encode_target(self._schema, moved_rows)
                self._counts[name] -= np.bincount(places, minlength=len(self._counts[name]))
                break

    def prepared(self, dropped: int) -> Prepared:
        """The result, after all rows were added."""
        if not self._rows["test"] or not self._rows["train"]:
            raise SplitError(
                f"{sum(self._rows.values())} rows are too few for a test fraction of {self._test} of streamed data; "
                "expected at least one training row and one test row; set data.stream: false"
            )
        splits = {name: concat(parts) for name, parts in self._kept.items() if name != "train"}
        units = {name: np.concatenate(found) for name, found in self._units.items()}
        self._learn_every_class(splits, units)
        self._writer.close()
        for name in splits:
            late = np.argsort(share_of(units[name], ORDER, self._seed), kind="stable")
            splits[name], units[name] = take(splits[name], late), units[name][late]
        if not self._rows["test"]:
            raise SplitError(
                f"{sum(self._rows.values())} rows of {len(self._counts['test'])} classes leave no test row, because "
                "each class needs a training row; expected classes with several rows; join classes, or set data.task: "
                "regression if the target is a quantity"
            )
        splits = {"train": concat(self._kept["train"]), **splits}
        learned = np.memmap(self._learned, "<u8", "r")
        digests = {name: fingerprint(splits[name]) for name in ("validation", "test")}
        digests["train"] = self._digest.hexdigest()
        target = self._schema.target
        summary: dict[str, Any] = {
            "task": target.task,
            "rows": self._rows,
            "fields": {field.name: self._summaries[field.name].summary() for field in self._schema.inputs},
        }
        if target.task == "regression":
            summary["target"] = {name: self._summaries[name].summary() for name in target.names}
        else:
            summary["classes"] = {
                str(label): {name: int(counts[place]) for name, counts in self._counts.items()}
                for place, label in enumerate(target.classes)
            }
        summary |= {"dropped_rows": dropped, "fingerprints": digests, "shards": len(self._writer.kept)}
        transforms = Transforms(self._fitter.encoders())
        return Prepared(
            self._schema,
            transforms,
            splits,
            whole_fingerprint(digests),
            summary,
            learned,
            units["test"],
            shards=self._writer.kept,
        )


def _fitting(fraction: float, rows: int, most: int) -> float:
    """The fraction, halved until it is no more than about `most` rows."""
    while fraction * rows > most:
        fraction /= 2
    return fraction
