"""Checks a `.keras` file: it must be a plain zip archive with the few members that Keras writes, uncompressed.

Keras compresses nothing, so the content cannot be larger than the file, and a zip bomb is not possible. The names and
the content of the members are checked.
"""

import json
import stat
import zipfile
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from tidegate.serving.untrusted import looks_like, refusal
from tidegate.serving.untrusted.keras_config import fault_of, largest_size
from tidegate.serving.untrusted.keras_weights import fault_in_weights

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
REQUIRED = (CONFIG, METADATA, WEIGHTS)
VOCABULARY = "vocabulary.txt"  # the only asset of a built-in layer that is a file of its own
MAX_JSON_BYTES = 64 << 20  # bytes
MAX_MEMBERS = 1000
LOCAL_HEADER = 30  # bytes before a member's name and content


def check(model: Path, code: Path | None) -> None:
    """Refuse an archive, a configuration or weights that Keras would not write for one of our models.

    Raises:
        UntrustedModelError: with the member or object at fault.
    """
    with model.open("rb") as stream:
        head = stream.read(8)
    if not head.startswith(b"PK\x03\x04"):
        raise refusal(model, f"it is not a .keras archive but {looks_like(head)}", "a file saved by Keras")
    try:
        with zipfile.ZipFile(model) as archive:
            _check_members(model, archive)
            size = _check_config(model, archive, code)
            _check_weights(model, archive, size)
    # zipfile raises these for damaged archives, and for encrypted or unknown kinds of them.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise refusal(model, f"it is not a complete archive: {error}", "a file saved by Keras") from error


def _check_members(model: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    repeated = (
        next((name for name in names if names.count(name) > 1), None) if len(names) < MAX_MEMBERS else ""
    )
    if repeated is not None:
        found = f"it has the member {repeated!r} twice" if repeated else f"it has {len(names)} members"
        raise refusal(model, found, f"each name once, and fewer than {MAX_MEMBERS}")
    for member in members:
        _check_member(model, member)
    absent = next((name for name in REQUIRED if name not in names), None)
    if absent is not None:
        raise refusal(model, f"it lacks the member {absent!r}", f"{', '.join(REQUIRED)}")
    _check_overlap(model, members)


def _check_member(model: Path, member: zipfile.ZipInfo) -> None:
    name, mode = member.filename, member.external_attr >> 16
    shown = f"its member {name!r}"
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or ":" in name
        or name != member.orig_filename
    ):
        raise refusal(model, f"{shown} points outside the archive", "a relative name without '..'")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or member.is_dir():
        raise refusal(model, f"{shown} is a link, a folder or a device", "plain files")
    if name not in REQUIRED and not (path.parts[0] == "assets" and path.name == VOCABULARY):
        expected = f"{', '.join(REQUIRED)} and vocabularies only: no pickle, no code, no other weights"
        raise refusal(model, f"{shown} does not belong in a model", expected)
    if member.flag_bits & 1 or member.compress_type != zipfile.ZIP_STORED:
        raise refusal(
            model, f"{shown} is compressed or encrypted", "members stored uncompressed, as by Keras"
        )
    if member.file_size != member.compress_size or (
        name.endswith(".json") and member.file_size > MAX_JSON_BYTES
    ):
        found = f"{shown} has {member.compress_size} bytes and claims {member.file_size}"
        raise refusal(model, found, f"the same number twice, of JSON at most {MAX_JSON_BYTES}")


def _check_overlap(model: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that share bytes, by which a small file could hold much more than its size."""
    placed = sorted(members, key=lambda member: member.header_offset)
    for first, second in pairwise(placed):
        if first.header_offset + LOCAL_HEADER + first.compress_size > second.header_offset:
            found = f"its members {first.filename!r} and {second.filename!r} overlap"
            raise refusal(model, found, "members that do not overlap")


def _check_config(model: Path, archive: zipfile.ZipFile, code: Path | None) -> int:
    """Return the largest length of a weight in the configuration."""
    try:
        config = json.loads(archive.read(CONFIG), object_pairs_hook=_reject_duplicates)
    except (ValueError, RecursionError) as error:
        raise refusal(model, f"its {CONFIG} is not JSON: {error}", "a model's configuration") from error
    if not isinstance(config, dict):
        raise refusal(model, f"its {CONFIG} is not an object", "a model's configuration")
    # The runtime loads without compiling: Keras drops this part before it reads anything.
    config.pop("compile_config", None)
    fault = fault_of(config, code)
    if fault is not None:
        raise refusal(model, *fault)
    return largest_size(config)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse two values under one key: another parser could read the other one."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an object has the same key twice")
    return content


def _check_weights(model: Path, archive: zipfile.ZipFile, size: int) -> None:
    fault = fault_in_weights(archive.read(WEIGHTS), size)
    if fault is not None:
        raise refusal(model, *fault)
