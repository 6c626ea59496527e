"""How a source is read: which columns, as what, and the dialect of CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.models.data.item_lists import LISTS, TAGS

TEXTS = (
    "categorical",
    "text",
    "string",
    "date",
    "labels",
    *LISTS,
    TAGS,
)  # read as the strings that stand in the file
NUMBERS = ("numeric", "integer", "number")


@dataclass(frozen=True)
class CsvOptions:
    """The dialect of CSV; what is None is found out from the file.

    Attributes:
        delimiter: between cells, one character.
        decimal: before a number's fraction, "." or ",".
        thousands: between thousands of a number, "" for nothing.
        quote: around cells that have a delimiter in them; "" for nothing.
        encoding: a name that Python knows.
        missing: cells that are missing values, instead of the usual ones; an empty cell always is.
    """

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    quote: str | None = None
    encoding: str | None = None
    missing: tuple[str, ...] | None = None

    @classmethod
    def of(cls, stated: Mapping[str, Any] | None) -> CsvOptions:
        """From the keys that are stated."""
        known = {key: value for key, value in (stated or {}).items() if value is not None}
        if "missing" in known:
            known["missing"] = tuple(known["missing"])
        return cls(**known)


@dataclass(frozen=True)
class OwnLoad:
    """A function of the user's that gives the rows.

    Attributes:
        reference: such as `churn.data:load`.
        options: its keyword arguments.
        held: what it returned, in parts, if that is in memory; None: it is called whenever the rows are read.
    """

    reference: str
    options: Mapping[str, Any] = field(default_factory=dict)
    held: Sequence[Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        kinds: the kind of a column, where it is stated or the endpoint's contract says it.
        csv: the dialect of CSV.
        by_contract: rows to predict. What a row means may not depend on the other rows of its file: whatever only they
            could decide is an error.
        lenient: tell what would be refused, and go on with texts.
        labels: targets that are classes, whatever they look like.
        quantities: targets of a regression.
        targets: all targets; a list of texts is a set of labels there.
        found: filled while reading: the kind of a column that only the reader can know.
        scans: filled while reading: what was found out about files, for when they are read again.
        load: the user's function that gives the rows, in place of a reader; None: a reader.
        with_files: all files of the data, whose rows decide together what the columns of each are.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    csv: CsvOptions = CsvOptions()
    by_contract: bool = False
    lenient: bool = False
    labels: frozenset[str] = frozenset()
    quantities: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    found: dict[str, str] = field(default_factory=dict)
    scans: dict[Any, Any] = field(default_factory=dict)
    with_files: tuple[Path, ...] = ()
    load: OwnLoad | None = None

    def are_labels(self, name: str, texts: bool) -> bool:
        """Whether lists of a column are sets of labels: of texts if it is a target, else only where that is stated."""
        return self.kinds.get(name) == "labels" or (texts and name in self.targets and name not in self.kinds)

    def are_items(self, name: str) -> bool:
        """Whether lists of a column are tokens, ids or tags, see `data.item_lists`, which only a stated kind says."""
        return self.kinds.get(name) in (*LISTS, TAGS)

    def reads_as(self, name: str, typed: bool = False) -> str:
        """A column is wanted as "texts", "numbers", "sequence", or "" for what its values are.

        Args:
            name: the column's.
            typed: whether the format has types of its own, so that numbers are no texts (kind: text).
        """
        kind = self.kinds.get(name)
        if kind in TEXTS and not (typed and kind in ("text", "string")):
            return "texts"
        return "numbers" if kind in NUMBERS else "sequence" if kind == "sequence" else ""
