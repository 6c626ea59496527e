"""Run a module as the train step would: `python -m tests.on_keras MODULE WORDS...`, Keras imported quickly before."""

import runpy
import sys

from tidegate.models.networks.keras_import import import_keras

if __name__ == "__main__":
    import_keras()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
