"""Bugs planted in a copy of this code, small edits of the kind that a tired person makes, and which test sees each."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults.store.faults import ALL_VARIABLE, CALLS, FAULTS
from tests.forked import ROOT
from tidegate.pipelines.executors.forking.servers import VARIABLE

HERE = "tests/faults/store"
POINTER, FAILED = f"{HERE}/test_pointer.py", f"{HERE}/test_failed_calls.py"
CONFORMANCE, WALK = f"{HERE}/test_conformance.py", f"{HERE}/test_walks.py"


@dataclass(frozen=True)
class Bug:
    """An edit, and what sees it.

    Attributes:
        path: of the file.
        right: what stands there, once.
        wrong: what is put in its place.
        test: a file of tests.
        only: pytest's `-k`.
        seen: a pattern of what the failed test prints.
        calls: of a walk: which calls fail.
        fault: of a walk: what they meet.
    """

    path: str
    right: str
    wrong: str
    test: str
    only: str
    seen: str
    calls: str = ""
    fault: str = "refused"


BUGS = {
    "a folder writes whatever is there": Bug(
        "infra/store/folder.py",
        "if (found and found[1]) != etag:",
        "if False:",
        POINTER,
        "folder",
        "is_linearizable",
    ),
    "a folder's lock is not taken": Bug(
        "infra/store/folder.py",
        """            translate_os_errors(StoreError, path, "Writing"),
            lock(self.root / "docs.lock", error=StoreError),
        ):""",
        """            translate_os_errors(StoreError, path, "Writing"),
        ):""",
        POINTER,
        "folder",
        "is_linearizable",
    ),
    "a document is written in place": Bug(
        "infra/system/files.py",
        "    temp = temporary(path.parent)\n    try:",
        "    temporary(path.parent)\n    path.write_bytes(content)\n    return\n    temp = path\n    try:",
        POINTER,
        "folder",
        "validation error|JSON",
    ),
    "a write to S3 has no condition": Bug(
        "infra/store/s3_bucket.py",
        "**self.location(key), **condition, Body",
        "**self.location(key), Body",
        POINTER,
        "bucket",
        "is_linearizable",
    ),
    "a write that was overtaken is a conflict": Bug(
        "infra/store/bucket_store.py",
        "        if again and replaced",
        "        if not found and replaced",
        FAILED,
        "overtaken",
        "changed meanwhile",
    ),
    "a writer does not know its own mark": Bug(
        "infra/store/bucket_store.py",
        "if found and last == writer:",
        "if found and False:",
        CONFORMANCE,
        "TestDocuments and s3",
        "was lost|changed meanwhile",
    ),
    "a download that fails leaves its file": Bug(
        "infra/store/bucket_store.py",
        "            finally:\n                temp.unlink(missing_ok=True)",
        "            finally:\n                pass",
        CONFORMANCE,
        "missing_object and s3",
        "tmp-",
    ),
    "a bundle is listed before its files are there": Bug(
        "pipelines/state/bundles.py",
        "    refs = [home.store.put(folder / name, name).model_dump() for name in bundle_files(folder)]",
        """    from tidegate.infra.store import digest_of

    sizes = {name: (folder / name).stat().st_size for name in bundle_files(folder)}
    named = [{"digest": digest_of(folder / name), "size": size, "name": name} for name, size in sizes.items()]
    home.store.write(f"bundles/{digest}.json", json.dumps(named).encode(), None)
    refs = [home.store.put(folder / name, name).model_dump() for name in bundle_files(folder)]""",
        WALK,
        "folder",
        "names what is not there",
        "put contract.json",
    ),
    "an event gets a second entry": Bug(
        "pipelines/history/entries.py",
        "if entry is not None and entry.event.id == event.id:",
        "if False:",
        WALK,
        "folder",
        "the history tells of the run: .'released', 'released'",
        "write history/entries",
        "lost",
    ),
    "a store that is down hides why a run failed": Bug(
        "pipelines/driver/driver.py",
        "        except Exception as error:\n            self._abandon(plan)\n",
        "        except Exception as error:\n            abandon(self._home, plan.run, plan.experiment.endpoint)\n",
        WALK,
        "folder",
        "the run's reason is",
        "read history/head",
        "down",
    ),
    "a step's error is not told": Bug(
        "pipelines/executors/worker.py",
        "            report_error(error)\n            return EXIT",
        "            return EXIT",
        WALK,
        "folder",
        "said instead of what went wrong",
        "put transforms",
    ),
}


def copied(folder: Path) -> None:
    """Copy this repository's files, as they are now."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)


def said_with(bug: Bug, folder: Path) -> tuple[int, str]:
    """Plant a bug in a copy in a new folder, and run its test there; pytest's exit code and what it printed."""
    copied(folder)
    path = folder / bug.path
    text = path.read_text()
    assert text.count(bug.right) == 1, f"{bug.path} has changed: {bug.right}"
    path.write_text(text.replace(bug.right, bug.wrong))
    argv = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", bug.test, "-k", bug.only]
    env = {name: value for name, value in os.environ.items() if name not in (VARIABLE, ALL_VARIABLE)}
    env |= {"PYTHONPATH": str(folder / ".src"), CALLS: bug.calls, FAULTS: bug.fault}
    ran = subprocess.run(argv, cwd=folder, env=env, check=False, capture_output=True, text=True, timeout=1200)
    return ran.returncode, ran.stdout + ran.stderr


def is_seen(bug: Bug, code: int, printed: str) -> bool:
    """Whether a test failed, and for this bug."""
    return code == 1 and re.search(bug.seen, printed) is not None
