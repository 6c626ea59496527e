"""A trained decoder-only transformer that reads new tokens after those whose keys and values are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidegate.models.networks.self_attention import attended_after, rotations, seen


@dataclass(frozen=True)
class Steps:
    """A trained model that reads new tokens after those whose keys and values are given.

    Args:
        model: of `families.gpt.build`, whose layers are found by their names.
    """

    model: Any

    @property
    def layers(self) -> int:
        """How many have keys and values."""
        return sum(layer.name.startswith("query_key_value_") for layer in self.model.layers)

    @property
    def heads(self) -> tuple[int, int]:
        """How many each layer has, and the numbers of each."""
        shapes = [layer.target_shape for layer in self.model.layers if hasattr(layer, "target_shape")]
        heads, dim = next(shape[1:] for shape in shapes if len(shape) == 3)
        return int(heads), int(dim)

    def read(self, tokens: Any, positions: Any, past_positions: Any, *past: Any) -> list[Any]:
        """The answers to new tokens, and of each layer their keys and values.

        Args:
            tokens: int32 (rows, new).
            positions: of each, int32 (rows, new).
            past_positions: of the earlier ones, int32 (rows, past); one that is never seen has a larger one than all.
            past: of each layer their keys and values, (rows, heads, past, dim).

        Returns:
            Probabilities (rows, new, units), then keys and values (rows, heads, new, dim) of each layer.
        """
        from keras import ops

        layer, (heads, dim) = self.model.get_layer, self.heads
        turns, found = rotations(positions, dim), []
        visible = ops.concatenate([seen(positions, past_positions), seen(positions, positions)], axis=-1)
        x = layer("tokens")(tokens)
        for place in range(self.layers):
            joint = layer(f"query_key_value_{place}")(layer(f"norm_attention_{place}")(x))
            earlier = past[2 * place : 2 * place + 2]
            gathered, keys, values = attended_after(joint, turns, visible, heads, *earlier)
            found += [keys, values]
            x = x + layer(f"attention_{place}")(gathered)
            near = layer(f"norm_forward_{place}")(x)
            x = x + layer(f"forward_{place}")(layer(f"wide_{place}")(near))
        return [self.model.layers[-1](layer("norm")(x)), *found]
