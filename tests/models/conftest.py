"""What several tests of `models` write to disk."""

import gzip
import struct

import pytest


@pytest.fixture
def write_idx():
    """A function that writes an array of uint8 as an IDX file, gzipped if its name says so."""

    def write(path, array):
        content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    return write
