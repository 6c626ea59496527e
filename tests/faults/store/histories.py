"""Whether what several clients saw of one register is what a single one could have shown, each call at an instant.

The search is that of Wing and Gong (1993), with Lowe's memory of what was tried: a call may be the next one if no other
call had ended before it began.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NEVER = 1 << 62  # later than any time


@dataclass(frozen=True)
class Call:
    """One call: read, write a value whatever was there (swap), or write it where another one is (cas).

    Attributes:
        kind: of the call.
        began: ns, of a clock that all clients share.
        ended: ns; NEVER: it failed, and nobody knows whether it was done, or will be.
        answer: the value that was read, or that was there before; of a cas, whether it was done.
        value: what is written.
        expected: of a cas.
    """

    kind: Literal["read", "swap", "cas"]
    began: int
    ended: int
    answer: int | bool | None = None
    value: int | None = None
    expected: int | None = None

    def after(self, state: int | None) -> tuple[int | None] | None:
        """The state that this call leaves, in a tuple; None: in this state it could not have had its answer."""
        known = self.ended != NEVER
        if self.kind == "read":
            return (state,) if not known or state == self.answer else None
        done = self.kind == "swap" or state == self.expected
        right = self.answer == (state if self.kind == "swap" else done)
        return (self.value if done else state,) if not known or right else None


def is_linearizable(calls: Sequence[Call], first: int | None) -> bool:
    """Whether an order of the calls, each between its begin and its end, explains every answer.

    Args:
        calls: of all clients.
        first: the value before them.
    """
    needed = sum(1 << place for place, call in enumerate(calls) if call.ended != NEVER)
    tried: set[tuple[int, int | None]] = set()
    stack: list[tuple[int, int | None]] = [(0, first)]
    while stack:
        done, state = stack.pop()
        if done & needed == needed:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        open_ = [place for place in range(len(calls)) if not done >> place & 1]
        until = min(calls[place].ended for place in open_)
        for place in open_:
            left = calls[place].after(state) if calls[place].began <= until else None
            if left is not None:
                stack.append((done | 1 << place, left[0]))
    return False
