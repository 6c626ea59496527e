"""What columns of texts are, decided from the facts of all their cells; what is not plain is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tidegate.models.data.cells.facts import EXACT, CellFacts
from tidegate.models.data.cells.number_texts import INFINITE, PLAIN, NumberFormat
from tidegate.models.data.cells.types import BOOLEAN, FLAG, INTEGER, NUMBER, SPELLING, TEXTS, CellType
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.read_options import ReadOptions
from tidegate.models.errors import FormatError

MOSTLY, PARTLY = 0.9, 0.25  # shares of a column's cells that are numbers


def decided(
    facts: Mapping[str, CellFacts], options: ReadOptions, where: Path, dialect: Sequence[str], delimiter: str
) -> dict[str, CellType]:
    """The type of each column.

    Args:
        facts: of the cells of each column.
        options: how the columns are wanted.
        where: the files, for messages.
        dialect: what was found out about the files that is not usual.
        delimiter: of their cells; "" where they are no CSV.

    Raises:
        FormatError: a column that is wanted as numbers has other cells, or numbers in several formats.
    """
    decision = _Decision(facts, options, where, delimiter)
    types = {name: decision.type_of(name) for name in facts}
    written: dict[NumberFormat, list[str]] = {}
    for name, known in types.items():
        if known.written != PLAIN:
            written.setdefault(known.written, []).append(name)
    found = list(dialect)
    found += [f"{known} in {', '.join(names)}" for known, names in written.items()]
    if found and not (options.csv.decimal and len(found) == len(written)):
        fix = "data.csv states another dialect" if delimiter else "write them as numbers to be sure"
        tell(f"{where.name} is read with {'; '.join(found)}; {fix}")
    return types


def tell_digits(name: str, largest: int) -> None:
    """Tell that whole numbers stay texts, because float64, which a missing one needs, does not hold their digits."""
    tell(
        f"column {name!r}: whole numbers up to {largest} would lose digits as numbers and are kept as texts; if they "
        "are quantities, state kind: numeric"
    )


class _Decision:
    def __init__(
        self, facts: Mapping[str, CellFacts], options: ReadOptions, where: Path, delimiter: str
    ) -> None:
        self._facts, self._options, self._where, self._delimiter = facts, options, where, delimiter
        self._formats = {
            name: known.formats(options.csv.decimal, options.csv.thousands) for name, known in facts.items()
        }
        # The decimal marks of the columns in which only one is possible.
        self._decimals = {
            next(iter(decimals))
            for name, known in facts.items()
            if known.marked
            and known.numbers == known.present
            and len(decimals := self._decimals_of(name)) == 1
        }

    def type_of(self, name: str) -> CellType:
        wanted, known = self._options.reads_as(name), self._facts[name]
        if wanted == "texts":
            return TEXTS
        if known.texts or (known.booleans and known.numbers):
            if wanted == "numbers":
                self._refuse(self._no_number(name))
            elif not self._options.by_contract:
                self._tell_mixed(name)
            self._tell_missing(name, kept=True)
            return TEXTS
        if known.booleans:
            return self._booleans(name, wanted)
        return self._numbers(name, wanted)

    def _refuse(self, error: FormatError) -> None:
        if not self._options.lenient:
            raise error
        tell(str(error))

    def _tell_mixed(self, name: str) -> None:
        """Numbers and other texts in one column: refused where hardly any is another one, else told."""
        known = self._facts[name]
        other = known.texts + known.booleans.total()
        example = known.example if known.example is not None else next(iter(known.booleans))
        what = f"column {name!r} holds numbers, and {other} of {known.present} cells are none, such as {example!r}"
        fix = (
            "correct them, name them in data.csv: {missing: […]} if they stand for a missing value, or state kind: "
            "categorical (for a target data.task: classification)"
        )
        share = known.numbers / known.present
        if share >= MOSTLY and known.many and name not in self._options.labels:
            self._refuse(FormatError(f"{self._where}: {what}; expected numbers; {fix}"))
        elif share >= PARTLY:
            tell(f"{what}; they are read as texts; {fix}")

    def _numbers(self, name: str, wanted: str) -> CellType:
        known = self._facts[name]
        if not wanted and (known.code and not known.fractions):
            tell(
                f"column {name!r}: codes with leading zeros, such as {known.code!r}, are kept as texts; if they are "
                "numbers, state kind: numeric (of a target data.task: regression)"
            )
            return TEXTS
        absent = bool(known.blank or known.missing)
        if known.largest >= (EXACT if absent else 2**63 - 1) and not known.fractions and not wanted:
            tell_digits(name, known.largest)
            return TEXTS
        self._tell_missing(name, kept=False)
        if not self._formats[name]:
            self._refuse(self._several(name))
            return TEXTS
        written = self._format(name)
        fits = not absent and not known.fractions and known.largest < 2**63 - 1
        return CellType(INTEGER if fits else NUMBER, written)

    def _booleans(self, name: str, wanted: str) -> CellType:
        known = self._facts[name]
        if wanted == "numbers":
            return CellType(FLAG if known.blank or known.missing else BOOLEAN)
        spellings = {word.lower() for word in known.booleans}
        if len(known.booleans) == len(spellings) and not known.missing:
            return TEXTS
        if len(known.booleans) > len(spellings):
            tell(
                f"column {name!r}: {', '.join(map(repr, known.booleans))} are read as the same two values, true and "
                "false"
            )
        self._tell_missing(name, kept=False)
        return CellType(SPELLING)

    def _format(self, name: str) -> NumberFormat:
        known, formats = self._facts[name], self._formats[name]
        if not known.marked:
            return formats[0]
        decimals, contract = self._decimals_of(name), self._options.by_contract
        stated = self._options.csv.decimal is not None
        if len(decimals) == 1:
            chosen = formats[0]
            if contract and not stated and known.dotted and chosen.decimal == ",":
                raise self._ambiguous(name)
            return chosen
        if len(self._decimals) == 1:
            (decimal,) = self._decimals
            if contract and known.dotted and decimal == ",":
                raise self._ambiguous(name)
            return next(form for form in formats if form.decimal == decimal)
        if contract and not known.dotted:
            raise self._ambiguous(name)
        return self._guessed(name)

    def _guessed(self, name: str) -> NumberFormat:
        formats = self._formats[name]
        decimal = "." if PLAIN in formats or self._delimiter != ";" else ","
        chosen = next(form for form in formats if form.decimal == decimal)
        other = next(form for form in formats if form.decimal != decimal)
        if not self._options.by_contract:
            example = "1.234" if PLAIN in formats else "1,234"
            tell(
                f"column {name!r}: numbers such as {example} are read as {chosen.parse(example):g}, but could be "
                f"{other.parse(example):g}, because no number of the file shows which; "
                + (
                    "state data.csv: {decimal: …, thousands: …}"
                    if self._delimiter
                    else "write them as numbers"
                )
            )
        return chosen

    def _decimals_of(self, name: str) -> set[str]:
        return {form.decimal for form in self._formats[name]}

    def _tell_missing(self, name: str, kept: bool) -> None:
        known = self._facts[name]
        # NaN is a number's own, and infinite ones are told of whatever the format.
        markers = [text for text in known.missing if kept or text.lower() not in ("nan", *INFINITE)]
        if not markers or self._options.by_contract or self._options.csv.missing is not None:
            return
        listed = ", ".join(f"{text!r} ({known.missing[text]})" for text in markers[:5])
        whole = known.blank + known.missing.total() + known.present
        if kept:
            tell(
                f"column {name!r}: {listed} of {whole} cells are kept as texts like any other; if they stand for a "
                f"missing value, state data.csv: {{missing: {markers[:5]}}}"
            )
        else:
            tell(
                f"column {name!r}: {listed} of {whole} cells are read as missing; data.csv.missing states others"
            )

    def _no_number(self, name: str) -> FormatError:
        known = self._facts[name]
        example = known.example if known.example is not None else next(iter(known.booleans))
        other, row = known.texts + known.booleans.total(), known.example_row
        target = name in self._options.quantities
        why = "as it is the target of a regression" if target else "as its kind is numeric"
        fix = "correct the cells that are not numbers"
        if not self._options.by_contract:
            fix += ", name them in data.csv.missing if they stand for missing values, or "
            fix += "leave out data.task and a loss of regression" if target else "set kind: categorical"
        return FormatError(
            f"{self._where}: column {name!r} holds {example!r}{f' in row {row}' if row else ''}, and {other} of "
            f"{known.present} cells are no numbers; expected numbers, {why}; {fix}"
        )

    def _several(self, name: str) -> FormatError:
        stated = self._options.csv.decimal or self._options.csv.thousands
        fix = "correct data.csv" if stated else "write all with one decimal mark, or set kind: categorical"
        return FormatError(
            f"{self._where}: column {name!r} holds numbers that no one format fits; expected one decimal mark and one "
            f"mark between thousands in all rows; {fix}"
        )

    def _ambiguous(self, name: str) -> FormatError:
        return FormatError(
            f"{self._where}: column {name!r} holds numbers such as 1.234 or 1,234, which can be read in two ways; "
            "expected one decimal mark; state it: --csv decimal=. or --csv decimal=,"
        )
