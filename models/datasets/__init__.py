"""The built-in datasets, and `load`: rows of a built-in dataset or of a source.

To add one, write a function that returns its columns and the number of last rows that are its published test split,
add it to DATASETS, and its files to `data.sources` or `data.packaged_datasets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidegate.models.data.columns import Columns, concat
from tidegate.models.data.read_options import ReadOptions
from tidegate.models.data.sources import check_format, check_tile, dataset_files, existing, guess_format
from tidegate.models.datasets import aerial, built_in, news, scenes, series, speech, tables, texts, waves
from tidegate.models.readers import read, readable
from tidegate.models.readers.own.own_load import read_own


@dataclass(frozen=True)
class Dataset:
    """A built-in dataset.

    Attributes:
        target: the target column.
        task: see `preprocessing.schema.Task`.
        rows: reads the files; returns the columns and the number of last rows that are the published test split.
        kinds: the kind of inputs whose values do not show it.
        tiled: `rows` also takes the size of a tile.
    """

    target: str
    task: str
    rows: Callable[..., tuple[Columns, int]]
    kinds: tuple[tuple[str, str], ...] = ()
    tiled: bool = False


DATASETS: dict[str, Dataset] = {
    "digits": Dataset("label", "classification", built_in.digits),
    "wine": Dataset("class", "classification", built_in.wine),
    "diabetes": Dataset("progression", "regression", built_in.diabetes),
    "fashion-mnist": Dataset("label", "classification", built_in.fashion_mnist),
    "fashion-scenes": Dataset("mask", "segmentation", scenes.fashion_scenes),
    "line": Dataset("y", "regression", built_in.line),
    "italy-power": Dataset("class", "classification", series.equal_length),
    "gunpoint": Dataset("class", "classification", series.equal_length),
    "japanese-vowels": Dataset("class", "classification", series.any_length, (("series", "sequence"),)),
    "blood-pressure": Dataset("wave", "generation", waves.blood_pressure),
    "bleeding": Dataset("bleeding", "classification", waves.bleeding),
    "spoken-digits": Dataset("digit", "classification", speech.digits, (("mfcc", "sequence"),)),
    "r8": Dataset("topic", "classification", news.topics, (("text", "text"),)),
    "20-newsgroups": Dataset("topic", "classification", news.topics, (("text", "text"),)),
    "newsgroup-labels": Dataset("labels", "multilabel", news.labels, (("text", "text"),)),
    "bikeshare": Dataset("bikers", "regression", tables.bikeshare, tables.KINDS),
    "bikeshare-hours": Dataset("bikers", "regression", tables.bikeshare_hours),
    "bible": Dataset("text", "generation", texts.verses),
    "verse-pairs": Dataset("english", "generation", texts.verse_pairs, (("spanish", "text"),)),
    "cmudict": Dataset("phonemes", "generation", texts.pronunciations, (("spelling", "text"),)),
    "trees": Dataset("boxes", "detection", aerial.trees, tiled=True),
}


def load(
    *,
    dataset: str | None = None,
    source: str | Path | None = None,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    sample_rate: int | None = None,
    tile: int | None = None,
    options: ReadOptions | None = None,
) -> Columns:
    """All rows of a built-in dataset or of a source, column-wise.

    Args:
        dataset: the name of a built-in dataset; if None, `source`, a file or folder, is read.
        format: a key of `readers.READERS`; None guesses it from the suffix.
        columns: the columns to read; None means all.
        sample_rate: of recordings, in Hz; None: that of the first one.
        tile: height and width in pixels of the tiles that images with boxes are cut into; None: no tiles.
        options: as what columns are read, see `data.read_options`.

    Raises:
        SourceError: the source is missing, not readable, or has no reader.
        FormatError: the content does not match its format.
        SchemaError: a column of `columns` does not exist.
    """
    if dataset is not None:
        return load_dataset(dataset, tile)[0]
    return concat(list(chunks(source, format, columns, sample_rate, tile, options)))


def chunks(
    source: str | Path | None,
    format: str | None,
    columns: Sequence[str] | None,
    sample_rate: int | None,
    tile: int | None = None,
    options: ReadOptions | None = None,
) -> Iterator[Columns]:
    """The rows of a source, a few MiB at a time, or in the parts that a function of the user's gives; see `load`."""
    if options is not None and options.load is not None:
        yield from read_own(options.load, source, columns, options)
        return
    path = existing(source)
    yield from read(path, format_of(path, format), columns, sample_rate, tile, options)


def format_of(path: Path, format: str | None) -> str:
    """The stated format, or the one guessed from the path."""
    return check_format(format) if format else guess_format(path)


def load_dataset(name: str, tile: int | None = None) -> tuple[Columns, int]:
    """A built-in dataset's columns, and the number of last rows that are its published test split (0: none).

    Raises:
        SourceError: an unknown name, missing files, or tiles of a dataset that has none.
    """
    files = dataset_files(name)
    known = DATASETS[name]
    check_tile(tile, known.tiled, f"data.dataset is {name}")
    arguments = (files, tile) if known.tiled else (files,)
    if files:
        with readable(files[0]):
            return known.rows(*arguments)
    return known.rows(*arguments)
