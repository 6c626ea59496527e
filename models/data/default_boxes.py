"""The default boxes of a detection, without NumPy, because `plan` imports them."""

from __future__ import annotations

from dataclasses import dataclass

OFFSETS = 4  # numbers that move and scale a default box


@dataclass(frozen=True)
class Grid:
    """Default boxes on a regular grid over an image, with the same shapes at each position.

    Args:
        stride: pixels between two positions, a power of 2: the grid has the size of a feature map of that stride.
        shapes: width and height of each default box, in pixels of the model's image.
    """

    stride: int
    shapes: tuple[tuple[float, float], ...]

    def places(self, height: int, width: int) -> tuple[int, int]:
        """The number of positions down and across."""
        return -(-height // self.stride), -(-width // self.stride)
