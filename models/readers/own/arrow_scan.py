"""What the types of Arrow do not tell about columns: lengths of lists, and numbers that null would make inexact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.models.data.cells.decision import decided, tell_digits
from tidegate.models.data.cells.facts import CellFacts
from tidegate.models.data.cells.types import CellType, column_of
from tidegate.models.data.columns import Array
from tidegate.models.data.read_options import ReadOptions
from tidegate.models.data.source_types import note_type
from tidegate.models.readers import tell_index
from tidegate.models.readers.arrow_columns import (
    column_of_arrow,
    is_list,
    is_text,
    item_lists,
    label_lists,
    largest_with_nulls,
    list_facts,
)
from tidegate.models.readers.lists import ListFacts, sequence_steps


@dataclass
class Scan:
    """What `scan` found.

    Attributes:
        index: columns that are the index of a pandas table, and are left out.
        texts: the columns that are read as strings, whatever their type.
        steps: the length of each column that is a sequence.
        cells: the types of strings that are wanted as numbers.
        labels: the columns of lists that are sets of labels.
        items: the columns of lists that are tokens, ids or tags.
    """

    index: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    steps: dict[str, int] = field(default_factory=dict)
    cells: dict[str, CellType] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)


class ArrowFacts:
    """Collects what is known of columns before they are read.

    Args:
        options: as what they are read.
    """

    def __init__(self, options: ReadOptions) -> None:
        self._options, self._found = options, Scan()
        self._lists, self._cells = dict[str, ListFacts](), dict[str, CellFacts]()
        self._largest = dict[str, int]()

    @property
    def index(self) -> set[str]:
        """The columns that are the index of a pandas table; to be added to."""
        return self._found.index

    def add(self, name: str, kind: Any, arrays: Iterable[Any], inexact: bool) -> None:
        """Add a column.

        Args:
            name: the column's.
            kind: its type in Arrow.
            arrays: its values, in parts; read only where they decide something.
            inexact: whether float64 could lose digits of it.
        """
        options, wanted = self._options, self._options.reads_as(name, typed=True)
        if wanted == "texts" and not is_list(kind):
            self._found.texts.add(name)
        elif is_list(kind) and options.are_items(name):
            self._found.items.add(name)
        elif is_list(kind) and options.are_labels(name, is_text(kind.value_type)):
            self._found.labels.add(name)
        elif is_list(kind):
            list_facts(self._lists.setdefault(name, ListFacts()), arrays)
        elif is_text(kind) and wanted == "numbers":
            cells = self._cells.setdefault(name, CellFacts())
            for array in arrays:
                cells.add([value or "" for value in array.to_pylist()])
        elif not wanted and not options.by_contract and inexact:
            self._largest[name] = max(self._largest.get(name, 0), largest_with_nulls(arrays))

    def scan(self, where: Path) -> Scan:
        """What was found in all columns; `where` is named in messages."""
        found = self._found
        for name, value in self._largest.items():
            if value:
                tell_digits(name, value)
                found.texts.add(name)
        if found.index:
            tell_index(found.index)
        found.steps = sequence_steps(self._lists, self._options)
        found.cells = decided(self._cells, self._options, where, (), "")
        return found


def column_as_scanned(where: Path, name: str, array: Any, scanned: Scan) -> Array:
    """A column of Arrow as the scan found it is to be read; raises FormatError, see `column_of_arrow`."""
    note_type(name, array.type)
    if name in scanned.cells:
        return column_of([value or "" for value in array.to_pylist()], scanned.cells[name], None)
    if name in scanned.labels:
        return label_lists(array)
    if name in scanned.items:
        return item_lists(where, name, array)
    return column_of_arrow(where, name, array, name in scanned.texts, scanned.steps.get(name))
