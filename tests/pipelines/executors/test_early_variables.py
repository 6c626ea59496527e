"""Variables that are read while a fork server imports: each counts as early, or is known to do no harm."""

import json
import subprocess
import sys

import pytest

from tidegate.pipelines.executors.forking.circumstances import LATE, SET_BY_LIBRARIES, is_early

# Read where a library is imported, for what is no part of a step's result: where the import was asked for, programs
# that could be found, a terminal, tests of a library's own.
HARMLESS = {
    *("PATH", "TERM", "SHELL", "IN_SPHINX_RUN", "IPYTHON_TESTING_TIMEOUT_SCALE", "NPY_PROMOTION_STATE"),
    *("TEST_RANDOM_SEED", "TEST_SRCDIR", "TEST_TMPDIR", "PYTEST_CURRENT_TEST"),
}
READS = """
import json, os, sys
from tidegate.pipelines.executors.forking import imports
reads = set()
plain = type(os.environ)

class Told(plain):
    def __getitem__(self, key):
        reads.add(os.fsdecode(key))
        return plain.__getitem__(self, key)

os.environ.__class__ = Told
imports.Imports(getattr(imports, sys.argv[1]), own_code=True).make()
os.environ.__class__ = plain
print(json.dumps(sorted(reads)))
"""

DIFFERENCES = """
import json, os
from tidegate.pipelines.executors.forking.circumstances import circumstances, differences
before = circumstances(os.environ)
import jax, mlflow, sklearn.linear_model, tensorflow
print(json.dumps(differences(before, circumstances(os.environ))))
"""


def test_a_notebook_that_has_imported_libraries_forks_too() -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-c", DIFFERENCES], capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("kind", ["STEPS", pytest.param("TRAIN", marks=pytest.mark.slow)])
def test_what_an_import_reads_is_early(kind: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-c", READS, kind], capture_output=True, text=True, check=True
    )
    reads = set(json.loads(ran.stdout.splitlines()[-1]))
    assert len(reads) >= 3
    known = {*HARMLESS, *LATE, *SET_BY_LIBRARIES}
    assert sorted(name for name in reads if not is_early(name) and name not in known) == []


def test_a_terminal_and_an_address_are_not_early() -> None:
    for name in (
        "PWD",
        "OLDPWD",
        "COLUMNS",
        "SSH_TTY",
        "MLFLOW_TRACKING_URI",
        "AWS_PROFILE",
        "TIDEGATE_HOME",
    ):
        assert not is_early(name)
    for name in ("OMP_NUM_THREADS", "HOME", "TMPDIR", "HDF5_USE_FILE_LOCKING"):
        assert is_early(name)
