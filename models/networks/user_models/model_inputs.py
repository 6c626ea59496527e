"""What a user's `build` gets as its first argument: tensors by input and by column, which say what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tidegate.models.errors import nearest_name
from tidegate.models.keras_private import register_tree

if TYPE_CHECKING:
    from tidegate.models.preprocessing.encoding.encoders import ColumnPart
    from tidegate.models.preprocessing.transforms import InputSpec


class UnknownInputError(KeyError):
    """A name that is no input, or no column, of the data."""

    def __str__(self) -> str:
        return str(self.args[0])


class ModelInputs(dict[str, Any]):
    """The model's inputs by name, as `keras.Input` tensors; `columns` has a tensor for each column of the data.

    A column that is joined with others in `features` is found by its own name too, as people give it an input of its
    own: a number `(rows, 1)`, a category as its index, int32 `(rows, 1)`, for an Embedding. A name that is not there
    raises a KeyError that lists what is: names, shapes, dtypes, ranges, and which part of `features` a column takes.
    Keras takes it as the dict that it is.
    """

    def __init__(self, tensors: Mapping[str, Any], specs: Mapping[str, InputSpec]) -> None:
        super().__init__(tensors)
        register_tree(ModelInputs)
        self._specs = specs
        self.columns = ColumnTensors(tensors, specs)

    def __missing__(self, name: str) -> Any:
        if name in self.columns:
            return self.columns.alone(name)
        raise _unknown(name, self, self._specs, "an input of the model")

    def __str__(self) -> str:
        return described(self._specs)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """Children and keys, as Keras flattens structures."""
        names = tuple(sorted(self))
        return tuple(self[name] for name in names), names

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], children: tuple[Any, ...]) -> dict[str, Any]:
        """The same structure with other children; a plain dict, as what is not built on these inputs."""
        return dict(zip(names, children, strict=True))


class ColumnTensors(Mapping[str, Any]):
    """A tensor for each column of the data, by the column's name: its part of the joined tensor, or its own input."""

    def __init__(self, tensors: Mapping[str, Any], specs: Mapping[str, InputSpec]) -> None:
        self._tensors, self._specs = tensors, specs
        self._owners = {part.name: name for name, spec in specs.items() for part in spec.columns}
        self._cut: dict[str, Any] = {}

    def __getitem__(self, column: str) -> Any:
        if column not in self._owners:
            raise _unknown(column, self, self._specs, "a column of the inputs")
        if column not in self._cut:
            self._cut[column] = self._part(column)
        return self._cut[column]

    def alone(self, column: str) -> Any:
        """A column as an input of its own: a category as its index from 1 on, 0 for one that is not known."""
        import keras

        part, key = self._known(column), f"{column} alone"
        if not part.one_hot:
            return self[column]
        if key not in self._cut:
            block = self[column]
            there = keras.ops.max(block, axis=1, keepdims=True)
            place = keras.ops.argmax(block, axis=1, keepdims=True)
            self._cut[key] = keras.ops.cast(there, "int32") * (keras.ops.cast(place, "int32") + 1)
        return self._cut[key]

    def _known(self, column: str) -> ColumnPart:
        return next(part for part in self._specs[self._owners[column]].columns if part.name == column)

    def __iter__(self) -> Iterator[str]:
        return iter(self._owners)

    def __len__(self) -> int:
        return len(self._owners)

    def _part(self, column: str) -> Any:
        import keras

        owner = self._owners[column]
        tensor = self._tensors[owner]
        part = self._known(column)
        if part.places is None:
            return tensor
        blocks = [tensor[:, start:stop] for start, stop in runs(part.places)]
        return blocks[0] if len(blocks) == 1 else keras.ops.concatenate(blocks, axis=1)


def runs(places: tuple[int, ...]) -> list[tuple[int, int]]:
    """Positions, ascending, as the ranges from START up to STOP that they form."""
    found: list[tuple[int, int]] = []
    for place in places:
        if found and found[-1][1] == place:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
    return found


def described(specs: Mapping[str, InputSpec]) -> str:
    """All inputs in words: name, dtype, shape, and what each column is."""
    return "; ".join(f"{name!r} {spec.dtype} {_shape(spec)}: {_parts(spec)}" for name, spec in specs.items())


def _shape(spec: InputSpec) -> str:
    return f"({', '.join(['rows', *map(str, spec.shape)])})"


def _parts(spec: InputSpec) -> str:
    words = []
    for part in spec.columns:
        blocks = [f"{start}:{stop}" for start, stop in runs(part.places or ())]
        where = f"[:, {' and '.join(blocks)}] " if blocks else ""
        words.append(f"{where}{part.name}, {part.holds}")
    return ", ".join(words) or spec.kind


def _unknown(
    name: str, known: Mapping[str, Any], specs: Mapping[str, InputSpec], what: str
) -> UnknownInputError:
    columns = [part.name for spec in specs.values() for part in spec.columns]
    near = nearest_name(name, [*known, *columns])
    hint = (
        f"did you mean {near!r}?" if near else "name one of them; inputs.columns has each column by its name"
    )
    return UnknownInputError(f"{name!r} is not {what}; the inputs are {described(specs)}; {hint}")
