"""Operations that repeat to the bit, on each backend of Keras."""

from typing import Any


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and the backend, and allow only operations that are deterministic to the bit.

    TensorFloat-32, which some GPUs use for float32 by default, is switched off: it keeps ten bits of each factor, and
    the parity with a CPU at the endpoint could not be shown.
    """
    import keras

    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    elif keras.backend.backend() == "jax":
        import jax

        settings: Any = jax.config
        settings.update("jax_default_matmul_precision", "highest")
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.allow_tf32 = False
