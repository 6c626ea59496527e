"""The default boxes of an image, told without NumPy: what is only planned imports this too."""

from dataclasses import dataclass

OFFSETS = 4  # numbers that move and stretch a default box


@dataclass(frozen=True)
class Grid:
    """Default boxes that lie evenly over an image, the same shapes at each place.

    Args:
        stride: pixels between two places, about: as many places as a network has that halves the image so often.
        shapes: width and height of each default box, in pixels of the model's image.
    """

    stride: int
    shapes: tuple[tuple[float, float], ...]

    def places(self, height: int, width: int) -> tuple[int, int]:
        """How many places there are, down and across."""
        return -(-height // self.stride), -(-width // self.stride)
