"""The dialect of a CSV file: its encoding, and what divides and quotes its cells, found out from its first lines."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from tidegate.models.data.cells.number_texts import fitting_formats
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.read_options import CsvOptions
from tidegate.models.errors import FormatError
from tidegate.models.readers import open_bytes

MARKS = ",;\t|"
NAMES = {"\t": "a tab", " ": "a space"}
SAMPLE = 1 << 16  # bytes
ROWS = 200
LARGEST_CELL = 2**27  # characters; the csv module's limit of 128 Ki is too small for long texts
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = "cp1252"
# Letters of another alphabet, read as Western European ones, come in rows; a sign in the middle of a word is none.
UNLIKELY = re.compile(
    r"[^\W\d_a-zA-Z]{3}|[a-zA-Z][^\w\s\x00-\x7f’–—“”„‚‘…€£«»·°²³½¼][a-zA-Z]|[\x00-\x08\x80-\x9f]"
)
UTF8_LETTER = re.compile(rb"[\xc3-\xc5\xe2][\x80-\xbf]")
SINGLE_QUOTED = r"(?:^|{0})'[^'\n]*'(?={0}|$)"


@dataclass(frozen=True)
class CsvDialect:
    """How a file is divided into cells.

    Attributes:
        encoding: a name that Python knows.
        delimiter, quote: as in CsvOptions.
        skipped: lines before the header.
        padded: whether a space follows each delimiter.
    """

    encoding: str
    delimiter: str = ","
    quote: str = '"'
    skipped: int = 0
    padded: bool = False

    def header(self, path: Path) -> list[str]:
        """The names in the header line."""
        return [name.strip() for name in next(self.rows(path))[1]]

    def rows(self, path: Path) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and cells of the header and of every row; empty lines are skipped."""
        csv.field_size_limit(LARGEST_CELL)
        with opened(path, self.encoding) as stream:
            for _ in range(self.skipped):
                stream.readline()
            reader = self._reader(stream)
            try:
                for row in reader:
                    if row:
                        yield reader.line_num + self.skipped, row
            except csv.Error as error:
                raise FormatError(
                    f"{path}, line {reader.line_num + self.skipped}: {error}; expected cells separated by "
                    f"{self.delimiter!r}, quoted with {self.quote or 'nothing'}; correct the line, or set data.csv: "
                    "{delimiter: …, quote: …}"
                ) from error

    def _reader(self, stream: TextIO | io.StringIO) -> Any:
        return csv.reader(
            stream,
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            skipinitialspace=self.padded,
            strict=True,
        )

    def sample(self, text: str) -> list[list[str]]:
        """The first rows of a text; [] if it cannot be divided."""
        lines = io.StringIO("".join(text.splitlines(True)[self.skipped :]))
        found: list[list[str]] = []
        try:
            for row in self._reader(lines):
                if row:
                    found.append(row)
                if len(found) == ROWS:
                    break
        except csv.Error:
            return found
        return found


def opened(path: Path, encoding: str) -> TextIO:
    """The file as text, through gzip if the name ends in .gz."""
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline="")


def sniffed(path: Path, stated: CsvOptions) -> CsvDialect:
    """The dialect of a file: what is stated, and else what its first lines show; what is not usual is told.

    Raises:
        FormatError: it is not text, or its encoding is not known.
    """
    encoding = stated.encoding or _encoding(path)
    with opened(path, encoding) as stream:
        text = stream.read(SAMPLE)
        if len(text) == SAMPLE:
            text = text[: text.rfind("\n") + 1] or text
    if "\0" in text:
        raise FormatError(f"{path} is not text; expected CSV; set the right data.format or data.csv.encoding")
    skipped, named = (1, text[4]) if re.match(r"sep=.\r?\n", text) else (0, None)  # as Excel writes it
    quote = '"' if stated.quote is None else stated.quote
    delimiter = stated.delimiter or named or _delimiter(path, text, CsvDialect(encoding, quote=quote))
    if stated.quote is None and _is_single_quoted(text, delimiter):
        quote = "'"
    found = CsvDialect(encoding, delimiter, quote, skipped)
    return CsvDialect(encoding, delimiter, quote, skipped, _is_padded(found.sample(text)))


def described(path: Path, dialect: CsvDialect, stated: CsvOptions) -> list[str]:
    """What was found out that is not usual."""
    found = []
    usual = "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else ","
    if stated.delimiter is None and dialect.delimiter != usual:
        found.append(f"delimiter {dialect.delimiter!r}")
    if stated.quote is None and dialect.quote != '"':
        found.append(f"quote {dialect.quote!r}")
    if stated.encoding is None and dialect.encoding not in ("utf-8", "utf-8-sig"):
        found.append(f"encoding {dialect.encoding}")
    return found


def _encoding(path: Path) -> str:
    """By the byte order mark; else UTF-8 if the whole file is, UTF-16 by its zeros, else Western European, told."""
    with open_bytes(path) as stream:
        head = stream.read(SAMPLE)
        marked = next((name for mark, name in BOMS if head.startswith(mark)), None)
        if marked or (zeros := head.count(0)) == 0:
            known = marked or ("utf-8" if _is(stream, head, "utf-8") else None)
        else:
            odd = head[1::2].count(0)
            known = "utf-16-le" if odd > 0.9 * zeros else "utf-16-be" if odd < 0.1 * zeros else None
            if known is None or zeros < 0.3 * len(head):
                raise FormatError(
                    f"{path} is not text; expected CSV; set the right data.format or data.csv.encoding"
                )
    return known or _western(path)


def _is(stream: BinaryIO, head: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    block = head
    try:
        while block:
            decoder.decode(block)
            block = stream.read(1 << 20)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def is_broken_utf8(content: bytes) -> bool:
    """Whether content that is no UTF-8 was meant to be: by most of its bytes beyond ASCII it is."""
    high = sum(1 for byte in content if byte >= 0x80) if not content.isascii() else 0
    return 4 * len(UTF8_LETTER.findall(content)) > high > 0


def _western(path: Path) -> str:
    """Windows-1252, if all that is not ASCII makes sense in it; raises FormatError."""
    example = ""
    with open_bytes(path) as binary:
        head = binary.read(1 << 24)
    if is_broken_utf8(head):
        raise FormatError(
            f"{path} is UTF-8 text with bytes that are none, {_place_of_error(head)}; expected UTF-8 throughout; save "
            "it again as UTF-8, or set data.csv: {encoding: …}"
        )
    try:
        with opened(path, WESTERN) as stream:
            while text := stream.read(1 << 20):
                strange = UNLIKELY.search(text)
                if strange:
                    example = text[max(0, strange.start() - 10) : strange.end() + 10]
                    break
                word = re.search(r"\w*[^\x00-\x7f]\w*", text)
                example = example or (word[0] if word else "")
            else:
                tell(
                    f"{path.name} is not UTF-8 and is read as {WESTERN} (Western European), where it has "
                    f"{example[:40]!r}; if that is wrong, set data.csv: {{encoding: …}}"
                )
                return WESTERN
    except UnicodeDecodeError:
        pass
    raise FormatError(
        f"{path} is not UTF-8 text, and not Western European ({WESTERN}) either; expected UTF-8; save it as UTF-8, or "
        "set data.csv: {encoding: …}, such as cp1250, cp1251, cp850 or shift_jis"
    )


def _place_of_error(content: bytes) -> str:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"the first in line {content[: error.start].count(10) + 1}"
    return "further down"


def _delimiter(path: Path, text: str, dialect: CsvDialect) -> str:
    """The mark that gives the same number of cells in all first rows; of several the one that gives numbers."""
    header = _outside_quotes(text.split("\n", 1)[0], dialect.quote)
    known = [mark for mark in MARKS if mark in header]
    scores = {}
    for mark in known:
        rows = CsvDialect(dialect.encoding, mark, dialect.quote).sample(text)
        if rows and all(len(row) == len(rows[0]) for row in rows):
            cells = [cell for row in rows[1:] for cell in row]
            numbers = sum(1 for cell in cells if fitting_formats(cell))
            scores[mark] = (numbers / max(1, len(cells)), len(rows[0]))
    best = max(scores, key=lambda mark: scores[mark], default="")
    if len(scores) > 1:
        tell(
            f"{path.name} can be divided at each of {', '.join(map(repr, scores))}; it is divided at {best!r}; if that "
            "is wrong, set data.csv: {delimiter: …}"
        )
    return best or max(known, key=header.count, default=",")


def _outside_quotes(line: str, quote: str) -> str:
    mark = re.escape(quote)
    return re.sub(rf"{mark}[^{mark}]*{mark}", "", line) if quote else line


def _is_single_quoted(text: str, delimiter: str) -> bool:
    if '"' in text:
        return False
    quoted = len(re.findall(SINGLE_QUOTED.format(re.escape(delimiter)), text, re.M))
    return quoted >= 2 and text.count("'") <= 2.2 * quoted


def _is_padded(rows: list[list[str]]) -> bool:
    later = [cell for row in rows for cell in row[1:]]
    return bool(later) and all(cell.startswith(" ") for cell in later)
