"""The outputs of a run's finished steps, for the steps that come after them."""

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

FEW = 1000  # so many are kept as they are; each further one compressed, in a fifth of its memory or less


class KeptOutputs(Mapping[str, dict[str, Any]]):
    """Outputs by step id: JSON values. Those of thousands of trials must not fill the driver's memory."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any] | bytes] = {}

    def add(self, step_id: str, outputs: dict[str, Any]) -> None:
        """Keep the outputs of a step."""
        few = len(self._kept) < FEW
        self._kept[step_id] = outputs if few else zlib.compress(json.dumps(outputs).encode(), 1)

    def __getitem__(self, step_id: str) -> dict[str, Any]:
        found = self._kept[step_id]
        if isinstance(found, bytes):
            outputs: dict[str, Any] = json.loads(zlib.decompress(found))
            return outputs
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)
