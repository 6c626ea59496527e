"""A history of faults: which call of a store meets which one. A seed repeats it."""

import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tidegate.infra.errors import StoreError

SEED_VARIABLE, ALL_VARIABLE = "TIDEGATE_CHAOS_SEED", "TIDEGATE_CHAOS_ALL"
# Of walks: which calls may meet a fault, by a pattern such as `write endpoints/`, and which faults, with commas.
CALLS, FAULTS = "TIDEGATE_CHAOS_CALLS", "TIDEGATE_CHAOS_FAULTS"
PATH = (
    "TIDEGATE_CHAOS_PATH"  # $PYTHONPATH of the tests, which what walks start has too: else it is not forked
)
SEED = int(os.environ.get(SEED_VARIABLE) or 20261130)
ALL = bool(os.environ.get(ALL_VARIABLE))  # `make chaos`: every call, where `make test` takes a few
SAID = "failed on purpose"

# What a call meets. `refused`: it fails, nothing was done. `lost`: it was done, and fails. `down`: it fails, and every
# later one too. `delayed`: it takes longer. `doubled`: it is delivered twice, and the first answer arrives.
RAISING = ("refused", "lost", "down")
SILENT = ("delayed", "doubled")
DELAY_S = 0.02


class Met(NamedTuple):
    """A fault that a call met: the call's number, from 1, its method and what it was about."""

    number: int
    fault: str
    method: str
    about: str

    def __str__(self) -> str:
        return f"call {self.number} ({self.method} {self.about}) {self.fault}, seed {SEED}"


@dataclass
class Faults:
    """Counts the calls of a process and says what each meets.

    Args:
        fault_of: the fault of a call, by its number from 1; None: none.
    """

    fault_of: Callable[[int], str | None]

    def __post_init__(self) -> None:
        self.met: list[Met] = []
        self.calls: list[str] = []  # each with its method and what it was about
        self._down = False
        self._counting = threading.Lock()

    def next(self, method: str, about: str) -> Met | None:
        """Count a call; the fault that it meets."""
        with self._counting:
            self.calls.append(f"{method} {about}")
            number = len(self.calls)
            fault = "down" if self._down else self.fault_of(number)
            if fault is None:
                return None
            met = Met(number, fault, method, about)
            if not self._down:
                self.met.append(met)
            self._down = fault == "down"
            return met


def at(number: int, fault: str) -> Faults:
    """One call meets a fault; after `down` all later ones do."""
    return Faults(lambda call: fault if call == number else None)


def now_and_then(faults: tuple[str, ...], every: int, salt: str) -> Faults:
    """One call in `every` meets one of these faults.

    Args:
        faults: those that may be met.
        every: how rarely.
        salt: another word, another history of the same seed.
    """
    dice = random.Random(f"{SEED} {salt}")
    return Faults(lambda _: dice.choice(faults) if dice.random() < 1 / every else None)


def error_of(met: Met) -> StoreError:
    """What a call raises."""
    return StoreError(f"the store {SAID}: {met}; expected an answer; submit again")
