"""Placement of a loop's arrays when several devices, in one process or several, share each batch (JAX backend).

Every device has all weights and all rows, and computes its share of each batch; XLA adds the collective operations. A
loss or a mean is that of the whole batch, so the results are those of one device. The Keras model keeps this process's
own copy of the weights, so that it can be used between two calls without the other devices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.models.errors import OptionsError


class BatchSharding:
    """The array layouts of `keras.distribution.DataParallel` over some devices.

    Args:
        devices: JAX devices, the same list in every process.
    """

    def __init__(self, devices: list[Any]) -> None:
        import jax
        from keras.distribution import DataParallel, TensorLayout

        layout = DataParallel(devices=[f"{device.platform}:{device.id}" for device in devices])
        self.size, self.processes = len(devices), jax.process_count()
        self._rows = layout.get_data_layout((self.size,)).backend_layout
        self._whole = TensorLayout((), layout.device_mesh).backend_layout
        self._here = [device for device in devices if device.process_index == jax.process_index()]
        # On the CPU, calls that wait for each other inside XLA's own threads must not pile up.
        self.waits = devices[0].platform == "cpu"

    def replicate(self, array: Any) -> Any:
        """An array that is equal in all processes, as one array replicated on every device."""
        import jax

        parts = [jax.device_put(array, device) for device in self._here]
        return jax.make_array_from_single_device_arrays(np.shape(array), self._whole, parts)

    def local_copy(self, array: Any) -> Any:
        """This process's part of a replicated array, without a copy."""
        return array.addressable_data(0)

    def shard_batch(self, batch: Any) -> Any:
        """Within a compiled call: a batch's arrays, with each device having its share of the rows.

        A batch that cannot be divided equally, the last of an epoch, is computed by every device.
        """
        import jax

        constrain: Any = jax.lax.with_sharding_constraint

        def share(array: Any) -> Any:
            return constrain(array, self._whole if array.shape[0] % self.size else self._rows)

        return jax.tree.map(share, batch)

    def replicated(self, state: Any) -> Any:
        """Within a compiled call: arrays that are replicated on every device."""
        import jax

        constrain: Any = jax.lax.with_sharding_constraint
        return jax.tree.map(lambda array: constrain(array, self._whole), state)

    def broadcast(self, array: Any) -> Any:
        """Member 0's array in every process."""
        if self.processes == 1:
            return array
        from jax.experimental import multihost_utils

        return multihost_utils.broadcast_one_to_all(array)


def batch_sharding(gpus: int, batch_size: int) -> BatchSharding | None:
    """The sharding over the devices that a training uses; None for JAX's default device alone.

    With `gpus`, that many devices of each process; with 0, all CPU devices, of which a process has one unless XLA is
    configured otherwise (`--xla_force_host_platform_device_count`).

    Raises:
        OptionsError: the batch size is not a multiple of the devices.
    """
    import jax

    found = jax.devices()
    each = gpus or (len(found) if found[0].platform == "cpu" else 1)
    chosen = []
    for process in range(jax.process_count()):
        chosen += [device for device in found if device.process_index == process][:each]
    if len(chosen) == 1:
        return None
    if batch_size % len(chosen):
        raise OptionsError(
            f"training.batch_size is {batch_size}; expected a multiple of {len(chosen)}, because the devices share "
            f"each batch equally; set for example {-(-batch_size // len(chosen)) * len(chosen)}"
        )
    return BatchSharding(chosen)
