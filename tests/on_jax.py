"""Imported by the fork server of programs on JAX before its first fork: Keras on it, and what trains there."""

import os
from importlib import import_module

from tidegate.models.networks.keras_import import import_keras

os.environ["KERAS_BACKEND"] = "jax"
import_keras()
for module in ("tidegate.models.families.build", "tidegate.models.loops.jax", "tidegate.models.training.fit"):
    import_module(module)
