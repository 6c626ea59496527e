"""Which columns of the data a trained model of others takes for each of its inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.models.data.columns import Columns
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.encoding.raw_encoder import TEXTS, RawEncoder
from tidegate.models.preprocessing.own_transform.function import OwnTransform
from tidegate.models.preprocessing.schema import Field, Schema
from tidegate.models.preprocessing.transforms import Transforms, input_name

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class ModelInput:
    """An input of a trained model.

    Attributes:
        name: as the model calls it.
        shape: of a row; None is any size.
        dtype: NumPy's name, or "str" for texts.
    """

    name: str
    shape: Shape
    dtype: str

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name!r} ({self.dtype}, {f'a row of shape ({sizes})' if self.shape else 'one value a row'})"


def raw_transforms(
    schema: Schema, fitted: Transforms, inputs: Sequence[ModelInput]
) -> tuple[Transforms, list[str]]:
    """The transforms that give a model the columns as they are, and a sentence on what each input gets.

    An input takes the column of its own name; else the single input takes all single values, in the order of
    `data.inputs`; else inputs and columns are paired by their shapes, where that leaves no choice.

    Args:
        schema: of the data; with a transform of the user's, `returned_schema`.
        fitted: by `prepare`, with `scale: none`; what a missing number becomes, and the categories.
        inputs: the model's, at least one.

    Raises:
        SchemaError: columns and inputs do not fit; both are listed.
    """
    paired = _paired(schema, inputs)
    fill, own = _fill(fitted), fitted.own
    categories = fitted.categories if own is None else {}  # a client sends those of raw columns
    source = "in the data" if own is None else f"{own.content.reference} returns it"
    encoders, told = {}, []
    for one in inputs:
        fields = paired[one.name]
        names = [field.name for field in fields]
        for field in fields:
            _check_values(field, one)
        sizes = [size for size in one.shape if size is not None]
        shape = sizes if len(sizes) == len(one.shape) else _own_shape(fields)
        known = {name: list(categories[name]) for name in names if name in categories}
        missing = {name: fill[name] for name in names if fill.get(name)}
        encoders[one.name] = ("raw", RawEncoder(names, shape, one.dtype, missing, known))
        how = ", in this order" if len(names) > 1 else ""
        told.append(f"the model's input {one} gets {', '.join(names)}{how}, as {source}")
    return Transforms(encoders, own=own), told


def returned_schema(schema: Schema, own: OwnTransform, columns: Columns) -> Schema:
    """The columns that a transform of the user's returns, in place of the raw ones.

    Args:
        schema: of the raw columns.
        own: the transform.
        columns: some raw rows, which show the dtypes.

    Raises:
        TransformError: it fails for them.
    """
    found = own.apply(columns)
    dtypes = {name: "str" if array.dtype == object else str(array.dtype) for name, array in found.items()}
    fields = tuple(
        Field(name=one.name, kind=one.kind, dtype=dtypes[one.name], shape=one.shape)
        for one in own.content.returns
    )
    return schema.model_copy(update={"inputs": fields})


def _own_shape(fields: Sequence[Field]) -> list[int]:
    """The shape of a row where the model takes any size."""
    return [len(fields)] if len(fields) > 1 else list(fields[0].shape)


def as_raw(schema: Schema) -> Schema:
    """The schema with numbers and images that are not scaled."""
    fields = [
        field.model_copy(update={"scale": "none"}) if field.kind in ("numeric", "image") else field
        for field in schema.inputs
    ]
    return schema.model_copy(update={"inputs": tuple(fields)})


def _paired(schema: Schema, inputs: Sequence[ModelInput]) -> dict[str, list[Field]]:
    fields = {field.name: field for field in schema.inputs}
    found: dict[str, list[Field]] = {}
    for one in inputs:
        named = next((name for name in fields if one.name in (name, input_name(name))), None)
        if named is not None and _fits(one.shape, fields[named].shape):
            found[one.name] = [fields.pop(named)]
    _pair_by_shape(fields, inputs, found, arrays=True)
    rest = [one for one in inputs if one.name not in found]
    single = len(fields) > 1 and not any(field.shape for field in fields.values())
    if len(rest) == 1 and single and rest[0].shape in ((len(fields),), (None,)):
        return found | {rest[0].name: list(fields.values())}
    _pair_by_shape(fields, inputs, found, arrays=False)
    if fields or len(found) < len(inputs):
        raise _unfit(inputs, found, fields)
    return found


def _pair_by_shape(
    fields: dict[str, Field], inputs: Sequence[ModelInput], found: dict[str, list[Field]], arrays: bool
) -> None:
    """Give an input the only column that fits it, if that fits no other input."""
    rest = [one for one in inputs if one.name not in found]
    left = [field for field in fields.values() if bool(field.shape) == arrays]
    for one in rest:
        fitting = [field for field in left if _fits(one.shape, field.shape)]
        if len(fitting) == 1 and sum(_fits(other.shape, fitting[0].shape) for other in rest) == 1:
            found[one.name] = [fields.pop(fitting[0].name)]


def _fits(shape: Shape, column: tuple[int, ...]) -> bool:
    """Whether a row of a column has the shape of an input, but for sizes of 1 and for a flat input."""
    if None in shape:
        return len(shape) == len(column) and all(a in (None, b) for a, b in zip(shape, column, strict=True))
    sizes = [size for size in shape if size is not None]
    without = [size for size in sizes if size != 1] == [size for size in column if size != 1]
    return without or (len(sizes) == 1 and sizes[0] == math.prod(column))


def _unfit(
    inputs: Sequence[ModelInput], found: Mapping[str, list[Field]], left: Mapping[str, Field]
) -> SchemaError:
    without = ", ".join(str(one) for one in inputs if one.name not in found)
    unused = ", ".join(f"{name} {field.shape or '(one value)'}" for name, field in left.items())
    lacks = f"no column fits the model's input {without}" if without else "the model has no further input"
    spare = f"the columns left are {unused}" if unused else "no column is left"
    return SchemaError(
        f"the data does not fit the model: {lacks}; {spare}; expected a column of the input's name, or as many single "
        "values as the only input takes, in its order; list the columns that the model takes in data.inputs, in its "
        "order"
    )


def _check_values(field: Field, one: ModelInput) -> None:
    """Refuse texts for numbers, numbers for texts, and fractions for whole numbers."""
    texts = field.dtype == "str"
    if texts != (one.dtype == TEXTS):
        held, expected = ("texts", "numbers") if texts else ("numbers", "texts")
        raise SchemaError(
            f"column {field.name!r} holds {held}, and the model's input {one} takes {expected}; expected the values "
            "that the model was trained on; give it these, or include its preprocessing in the model"
        )
    whole = one.dtype.startswith(("int", "uint", "bool"))
    if whole and field.dtype.startswith("float"):
        raise SchemaError(
            f"column {field.name!r} holds numbers that may have fractions, and the model's input {one} takes whole "
            f"ones; expected whole numbers; state {{name: {field.name}, kind: integer}} in data.inputs"
        )


def _fill(fitted: Transforms) -> dict[str, float]:
    """What a missing number of each column becomes: by `prepare`, whose scale is 1."""
    found: dict[str, float] = {}
    for entry in fitted.to_dict()["inputs"]:
        content: dict[str, Any] = entry["content"]
        if entry["encoder"] == "features":
            found |= dict(content.get("fill", {}))
        elif entry["encoder"] == "array":
            found[content["name"]] = content.get("fill", 0.0)
    return found
