"""A folder with one subfolder per class, each with .wav files; a recording becomes a sequence of samples.

All recordings must have the same sample rate: the stated one, or that of the first file. Channels are averaged.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns, unknown_column
from tidegate.models.data.sequences import padded
from tidegate.models.errors import FormatError
from tidegate.models.readers import rows_per_chunk
from tidegate.models.readers.image_folder import files_by_class

SUFFIXES = {".wav"}
NAMES = ("audio", "label")
ROWS = 1024  # per chunk, or fewer if recordings are long
DTYPES = {1: "u1", 2: "<i2", 4: "<i4"}  # by sample width in bytes; NumPy has no 24-bit integers
KINDS = {"audio": "sequence"}


def read(
    path: Path, columns: Sequence[str] | None = None, sample_rate: int | None = None
) -> Iterator[Columns]:
    """Chunks with columns `audio`, float32 `(n, longest)` from -1 to 1 padded with NaN, and `label`.

    Args:
        path: the folder.
        columns: the columns to read; None means both.
        sample_rate: of all files, in Hz; None: that of the first one.

    Raises:
        FormatError: a file is damaged, not PCM, or has another sample rate.
    """
    for name in columns or ():
        if name not in NAMES:
            raise unknown_column(name, NAMES, "input or target")
    files = files_by_class(path, SUFFIXES, "recordings")
    heads = [_head(file) for file in files]
    rate = sample_rate or heads[0].framerate
    for file, head in zip(files, heads, strict=True):
        if head.framerate != rate:
            origin = "as data.sample_rate says" if sample_rate else f"as in {files[0].name}"
            raise FormatError(
                f"{file} has {head.framerate} samples per second; expected {rate}, {origin}; convert it, for example "
                f"with `ffmpeg -i {file.name} -ar {rate} converted.wav`"
            )
    longest = max(head.nframes for head in heads)
    rows = rows_per_chunk(4 * longest, ROWS)
    for start in range(0, len(files), rows):
        part = files[start : start + rows]
        labels = np.array([file.parent.name for file in part], object)
        chunk = {"label": labels}
        if columns is None or "audio" in columns:
            chunk["audio"] = padded([samples(file) for file in part], longest)
        yield {name: chunk[name] for name in columns or NAMES}


def samples(file: Path) -> NDArray[np.float32]:
    """A recording as float32 `(samples,)` from -1 to 1; raises FormatError."""
    head, content = _head(file), b""
    try:
        with wave.open(str(file), "rb") as recording:
            content = recording.readframes(head.nframes)
    except (wave.Error, EOFError) as error:
        raise _broken(file, str(error)) from error
    if len(content) < head.nframes * head.nchannels * head.sampwidth:
        raise _broken(file, f"it ends before its {head.nframes} samples do")
    if head.sampwidth == 3:  # 24 bits, read as the upper bytes of 32 bits
        wide = np.zeros((head.nframes * head.nchannels, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        numbers = wide.view("<i4")[:, 0] / 2.0**31
    else:
        numbers = np.frombuffer(content, DTYPES[head.sampwidth]) / 2.0 ** (8 * head.sampwidth - 1)
        numbers = numbers - 1 if head.sampwidth == 1 else numbers  # 8-bit samples are unsigned
    return np.asarray(numbers.reshape(-1, head.nchannels).mean(axis=1), np.float32)


class Head(NamedTuple):
    """What a recording's head says: channels, bytes of a sample, samples a second, samples."""

    nchannels: int
    sampwidth: int
    framerate: int
    nframes: int


def _head(file: Path) -> Head:
    try:
        with wave.open(str(file), "rb") as recording:
            head = Head(*recording.getparams()[:4])
    except (wave.Error, EOFError) as error:
        raise _broken(file, str(error) or "it ends within its header") from error
    if head.nframes == 0:
        raise _broken(file, "it has no samples")
    return head


def _broken(file: Path, why: str) -> FormatError:
    return FormatError(
        f"recording {file} cannot be read: {why}; expected a complete .wav file of PCM samples; replace or remove it, "
        "or convert it, for example with `ffmpeg -i INPUT -c:a pcm_s16le OUTPUT.wav`"
    )
