"""Checks a `model.weights.h5`: it may hold groups and arrays of numbers, complete and in the file itself.

HDF5 can refer to other files (external links, external storage, virtual datasets), and can announce far more numbers
than it stores. The file is checked link by link: none is followed, and no array is read.
"""

import io
from typing import Any

Fault = tuple[str, str]
EXPECTED = "arrays of numbers that are complete in the file, as Keras writes them"
NUMBERS = "biufV"  # V: bfloat16 and float8
MAX_OBJECTS = 100_000


def fault_in_weights(content: bytes, size: int = 0) -> Fault | None:
    """The first fault of an HDF5 file: what was found and what was expected; None if there is none.

    Args:
        content: the file.
        size: the least number of numbers that it must hold.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            found = _first_fault(h5py, file, size)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        found = f"are not an HDF5 file ({' '.join(str(error).split())[:200]})"
    return None if found is None else (f"its weights {found}", EXPECTED)


def _first_fault(h5py: Any, file: Any, size: int) -> str | None:
    waiting, seen, numbers = [file], 0, 0
    while waiting:
        group = waiting.pop()
        for name in group:
            seen += 1
            if seen > MAX_OBJECTS:
                return f"have more than {MAX_OBJECTS} entries"
            link = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name}"
            if not isinstance(link, h5py.HardLink):
                target = f"{getattr(link, 'filename', '')}{link.path}"
                return f"have at {where!r} a link to {target!r}"
            entry = group[name]
            if isinstance(entry, h5py.Group):
                waiting.append(entry)
            elif fault := _fault_of(h5py, entry):
                return f"have at {where!r} {fault}"
            else:
                numbers += entry.size or 0
    return None if size <= numbers else f"hold {numbers} numbers where its layers need {size}"


def _fault_of(h5py: Any, entry: Any) -> str | None:
    if not isinstance(entry, h5py.Dataset):
        return "a type, which is not an array"
    if entry.is_virtual or entry.external:
        return "an array that is stored in another file"
    if entry.dtype.kind not in NUMBERS or entry.dtype.hasobject or entry.dtype.names:
        return f"values of type {entry.dtype}"
    stored = entry.id.get_storage_size()
    if entry.nbytes > stored:
        return f"an array of {entry.nbytes} bytes of which {stored} are stored"
    return None
