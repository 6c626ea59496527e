"""What a driver and its packed pods tell each other: documents of the run in the store, each with one writer.

The driver writes `packs/POD.json`, the pod's turn. The pod answers each turn with an empty document whose name says
all, so that one listing tells the driver of every pod; the driver removes it once it has read it.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

PACKS, ENDED = "packs/", "ended/"
Code = int | Literal["oom", "deadline"]


class Turn(BaseModel):
    """What a packed pod does next.

    Attributes:
        number: of its turns, from 0.
        step: the id of the trial; "": there are no more, and the pod ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    number: int
    step: str


@dataclass(frozen=True)
class End:
    """How a turn of a pod ended.

    Attributes:
        pack: the pod's id.
        number: of the turn.
        code: exit code of the trial's process, minus a signal, or why the pod ended it.
        more: whether the pod takes another trial.
    """

    pack: str
    number: int
    code: Code
    more: bool

    @property
    def name(self) -> str:
        """The name of its document."""
        return f"{ENDED}{self.pack}.{self.number}.{self.code}.{'more' if self.more else 'last'}"


def end_named(name: str) -> End:
    """The end that a document's name tells."""
    pack, number, code, more = name.removeprefix(ENDED).split(".")
    known: Code = "oom" if code == "oom" else "deadline" if code == "deadline" else int(code)
    return End(pack, int(number), known, more == "more")


def turn_name(pack: str) -> str:
    """The name of the document with a pod's turn."""
    return f"{PACKS}{pack}.json"
