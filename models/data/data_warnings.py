"""What a user should know about their data though it is no error: told once, kept in the run's summary.

Readers and `preprocessing` call `tell`; `prepare` records what they say, so that it reaches the step's log, the answer
of `submit`, `show` and MLflow. Elsewhere these are Python warnings.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class DataWarning(UserWarning):
    """The data was read in a way, or has a property, that its owner should know of."""


def tell(sentence: str) -> None:
    """Say something about the data: what was seen, what was done with it, and how to have it otherwise."""
    warnings.warn(sentence, DataWarning, stacklevel=2)


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Within it, `tell` adds to this list, each sentence once; every other warning is shown as always."""
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        shown = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, DataWarning):
                shown(message, category, *place, **more)
            elif str(message) not in told:
                told.append(str(message))

        warnings.showwarning = keep
        yield told
