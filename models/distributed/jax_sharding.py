"""Where a loop's arrays lie when several devices, of one process or of several, share each batch (JAX backend).

Every device has all weights and all rows, and computes its share of each batch; XLA adds the collective operations.
A loss or a mean is that of the whole batch, so that the figures are those of one device. The Keras model keeps this
process's own copy of the weights: whatever is done with it between two calls needs no other device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.models.errors import OptionsError


class BatchSharding:
    """Layouts of `keras.distribution.DataParallel` over some devices.

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
        # Calls that wait for each other inside of XLA's own threads on the CPU must not pile up.
        self.waits = devices[0].platform == "cpu"

    def replicate(self, array: Any) -> Any:
        """An array of this process, the same in all, as one that lies on every device."""
        import jax

        parts = [jax.device_put(array, device) for device in self._here]
        return jax.make_array_from_single_device_arrays(np.shape(array), self._whole, parts)

    def local_copy(self, array: Any) -> Any:
        """This process's copy of an array that lies on every device; nothing is copied."""
        return array.addressable_data(0)

    def shard_batch(self, batch: Any) -> Any:
        """Within a compiled call: a batch's arrays, of which each device has its share of the rows.

        One that can not be shared equally, the last of an epoch, is computed by every device.
        """
        import jax

        constrain: Any = jax.lax.with_sharding_constraint

        def share(array: Any) -> Any:
            return constrain(array, self._whole if array.shape[0] % self.size else self._rows)

        return jax.tree.map(share, batch)

    def replicated(self, state: Any) -> Any:
        """Within a compiled call: arrays that every device is to have."""
        import jax

        constrain: Any = jax.lax.with_sharding_constraint
        return jax.tree.map(lambda array: constrain(array, self._whole), state)

    def broadcast(self, array: Any) -> Any:
        """Member 0's array, in every process."""
        if self.processes == 1:
            return array
        from jax.experimental import multihost_utils

        return multihost_utils.broadcast_one_to_all(array)


def batch_sharding(gpus: int, batch_size: int) -> BatchSharding | None:
    """The devices that a training uses; None: the one that JAX takes by itself.

    With `gpus` so many of each process; without, all CPU devices, of which a process has one unless XLA is told
    otherwise (`--xla_force_host_platform_device_count`).

    Raises:
        OptionsError: they can not share a batch equally.
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
            f"training.batch_size is {batch_size}, which {len(chosen)} devices can not share equally. Set a multiple "
            f"of {len(chosen)}, e.g. {-(-batch_size // len(chosen)) * len(chosen)}."
        )
    return BatchSharding(chosen)
