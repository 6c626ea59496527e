"""Pauses between tries. No package: with our rules for giving up, one would need as many lines as this has."""

import random
from collections.abc import Iterator


def pauses(first_s: float, longest_s: float) -> Iterator[float]:
    """Seconds to wait before each next try, for ever: they double up to `longest_s`.

    Each is shortened by chance to between half and all of it, so that many who wait for one server do not all come
    back at once.
    """
    pause = first_s
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, longest_s)
