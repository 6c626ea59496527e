"""What a `.keras` file may hold: a plain zip archive with the few members that Keras writes, stored as they are.

Keras compresses nothing, so an archive cannot be larger than the file: no bomb hides in one. Both the names
and the content of the members are judged.
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
VOCABULARY = "vocabulary.txt"  # the only asset of a built-in layer that lies in a file of its own
MOST_JSON = 64 << 20  # bytes
MOST_MEMBERS = 1000
LOCAL_HEADER = 30  # bytes before a member's name and content


def check(model: Path, code: Path | None) -> None:
    """Refuse an archive, a configuration or weights that Keras would not have written for one of our models.

    Raises:
        UntrustedModelError: with the member or object at fault.
    """
    with model.open("rb") as stream:
        head = stream.read(8)
    if not head.startswith(b"PK\x03\x04"):
        raise refusal(model, f"it is no .keras archive but {looks_like(head)}", "what Keras' own save wrote")
    try:
        with zipfile.ZipFile(model) as archive:
            _check_members(model, archive)
            size = _check_config(model, archive, code)
            _check_weights(model, archive, size)
    # What zipfile raises for damaged archives, and for encrypted or unknown kinds of them.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise refusal(model, f"it is no whole archive: {error}", "what Keras' own save wrote") from error


def _check_members(model: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    names = [member.filename for member in members]
    twice = next((name for name in names if names.count(name) > 1), None) if len(names) < MOST_MEMBERS else ""
    if twice is not None:
        found = f"it has the member {twice!r} twice" if twice else f"it has {len(names)} members"
        raise refusal(model, found, f"each name once, and fewer than {MOST_MEMBERS}")
    for member in members:
        _check_member(model, member)
    absent = next((name for name in REQUIRED if name not in names), None)
    if absent is not None:
        raise refusal(model, f"it lacks the member {absent!r}", f"{', '.join(REQUIRED)}")
    _check_places(model, members)


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
        raise refusal(model, f"{shown} is compressed or encrypted", "members stored as they are, as by Keras")
    if member.file_size != member.compress_size or (name.endswith(".json") and member.file_size > MOST_JSON):
        found = f"{shown} has {member.compress_size} bytes and says {member.file_size}"
        raise refusal(model, found, f"the same number twice, of JSON at most {MOST_JSON}")


def _check_places(model: Path, members: list[zipfile.ZipInfo]) -> None:
    """Members that share bytes make a small file large."""
    placed = sorted(members, key=lambda member: member.header_offset)
    for first, second in pairwise(placed):
        if first.header_offset + LOCAL_HEADER + first.compress_size > second.header_offset:
            found = f"its members {first.filename!r} and {second.filename!r} lie over each other"
            raise refusal(model, found, "each in a place of its own")


def _check_config(model: Path, archive: zipfile.ZipFile, code: Path | None) -> int:
    """Returns the largest length of a weight that is asked for."""
    try:
        config = json.loads(archive.read(CONFIG), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise refusal(model, f"its {CONFIG} is not JSON: {error}", "a model's configuration") from error
    if not isinstance(config, dict):
        raise refusal(model, f"its {CONFIG} is no object", "a model's configuration")
    # The runtime loads without compiling: Keras drops this part before it looks at anything.
    config.pop("compile_config", None)
    fault = fault_of(config, code)
    if fault is not None:
        raise refusal(model, *fault)
    return largest_size(config)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values under one key could be one thing here and another there."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return content


def _check_weights(model: Path, archive: zipfile.ZipFile, size: int) -> None:
    fault = fault_in_weights(archive.read(WEIGHTS), size)
    if fault is not None:
        raise refusal(model, *fault)
