"""Programs and servers of tests are forked, and are as easy to wait for and to end as processes of their own."""

import os
import signal

import pytest

from tests.forked import Program

PARENT = "import os, sys, keras; print(os.getppid(), keras.backend.backend(), sys.argv)"


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_program_is_forked_where_keras_is_imported_on_its_backend(backend: str) -> None:
    program = Program(backend, "-c", PARENT, "word")
    out, err = program.communicate(300)
    assert (program.returncode, err) == (0, "")
    parent, found, words = out.split(maxsplit=2)
    assert int(parent) != os.getpid()
    assert (found, words) == (backend, "['-c', 'word']\n")


def test_what_it_prints_and_its_exit_code_are_told() -> None:
    program = Program(
        "tensorflow", "-c", "import sys; print('said'); print('why', file=sys.stderr); sys.exit(3)"
    )
    assert program.communicate(300) == ("said\n", "why\n")
    assert program.returncode == 3


def test_it_is_ended_by_a_signal() -> None:
    program = Program("tensorflow", "-c", "import time; time.sleep(300)")
    assert program.pid != os.getpid() and program.poll() is None
    program.send_signal(signal.SIGTERM)
    assert program.wait(300) == -signal.SIGTERM
    program.kill()
