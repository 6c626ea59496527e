"""Files for readers, written and read in one line each."""

from tidegate.models import readers
from tidegate.models.data.columns import concat


def read(path, name, columns=None):
    return concat(list(readers.read(path, name, columns)))


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
