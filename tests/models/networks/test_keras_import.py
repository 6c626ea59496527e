"""Keras comes alone, and what it did not bring can be imported afterwards."""

import subprocess
import sys

CODE = """
import sys
from tidegate.models.networks.keras_import import import_keras

import_keras()
names = ("keras", "tensorflow", "jax", "matplotlib", "pandas", "sklearn")
print(*(name for name in names if name in sys.modules))
import matplotlib
import_keras()
print(matplotlib.__name__, sys.modules["matplotlib"] is matplotlib)
"""


def test_a_users_model_file_gets_all_of_keras() -> None:
    code = CODE.replace("import_keras()", "import_keras(own_code=True)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:6] == ["keras", "tensorflow", "jax", "matplotlib", "pandas", "sklearn"]


def test_what_nothing_here_uses_is_left_out() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["keras tensorflow", "matplotlib True"]
