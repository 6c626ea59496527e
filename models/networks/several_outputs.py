"""The outputs of a model that has several, by name: the second argument of `build`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.models.networks.outputs import Activation, Outputs

if TYPE_CHECKING:
    from keras import KerasTensor


@dataclass(frozen=True)
class SeveralOutputs(Mapping[str, Outputs]):
    """What a model of several outputs ends with: `outputs["animal"]` is one of them, `outputs.layer(x)` all.

    Args:
        heads: each output by its name, in the order of the names.
        order: the names in the order of `data.target`, which a model that returns a list follows.
    """

    heads: dict[str, Outputs]
    order: tuple[str, ...]
    grids: tuple[()] = ()
    logits: bool = False
    activation: Activation = "linear"

    def __getitem__(self, name: str) -> Outputs:
        return self.heads[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.heads)

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def units(self) -> int:
        """Width of all outputs together."""
        return sum(head.units for head in self.heads.values())

    def layer(self, x: KerasTensor) -> dict[str, KerasTensor]:
        """Return an output of each name for features `x` (rows, any)."""
        return {name: head.layer(x) for name, head in self.heads.items()}


AnyOutputs = Outputs | SeveralOutputs


def by_name(outputs: SeveralOutputs, answers: Any) -> dict[str, Any] | None:
    """A model's answers by output name: a dict, a list in the order of `data.target`, or None if it is neither."""
    if isinstance(answers, Mapping):
        return {name: answers[name] for name in outputs} if set(answers) == set(outputs) else None
    if not isinstance(answers, list | tuple) or len(answers) != len(outputs):
        return None
    return dict(sorted(zip(outputs.order, answers, strict=True)))
