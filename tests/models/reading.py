"""Files for readers, written and read in one line each."""

from tidegate.models import readers
from tidegate.models.data.columns import concat
from tidegate.models.data.data_warnings import recorded


def read(path, name, columns=None):
    """All rows; what is told of them is left out."""
    with recorded():
        return concat(list(readers.read(path, name, columns)))


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
