"""From raw columns to model inputs: one NumPy implementation for training and the endpoint.

Transforms are fitted once on the training rows, stored as JSON, and read by the endpoint. The rules, the same on both
sides:

- a missing number (None, NaN, infinite) becomes the training mean, a missing or unseen category all zeros, an unseen
  word the id 1, an unseen id 0, a missing text an empty one, a missing pixel 0, a missing date all zeros, a missing
  number in a sequence its feature's mean; unless `Field.missing` says otherwise;
- numbers are scaled as `Field.scale` says, by default by their training mean and standard deviation and limited to a
  million deviations; the `Field.limit` most frequent training values of a category field are known, and where there are
  more, all others, unseen ones too, share one feature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Array, Columns
from tidegate.models.data.data_warnings import tell
from tidegate.models.data.item_lists import WRITTEN
from tidegate.models.errors import SchemaError
from tidegate.models.preprocessing.encoding.encoder_fitting import (
    FITTERS,
    EncoderFitter,
    in_parts,
)
from tidegate.models.preprocessing.encoding.encoder_types import build
from tidegate.models.preprocessing.encoding.encoders import Encoder, InputSpec
from tidegate.models.preprocessing.encoding.features_encoder import FeaturesEncoder, columns_in
from tidegate.models.preprocessing.encoding.features_fitting import FeaturesFitter
from tidegate.models.preprocessing.encoding.id_encoder import IdEncoder
from tidegate.models.preprocessing.encoding.id_fitting import IdFitter
from tidegate.models.preprocessing.own_transform.function import OwnContent, OwnTransform
from tidegate.models.preprocessing.schema import Field, Schema
from tidegate.models.preprocessing.target.box_target import BoxTarget
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.models.preprocessing.target.text_target import PREFIX, TextTarget

__all__ = ["InputSpec", "Transforms", "TransformsFitter"]


class Transforms:
    """Fitted transforms from raw columns to model inputs.

    Single numbers, categories and dates share the float32 input `features` `(n, width)`. Every other field is an input
    of its own name (characters that Keras refuses are replaced by `_`): numeric arrays float32 of their shape, images
    float32 `(n, h, w, c)`, texts int32 token ids `(n, length)`, ids int32 `(n, 1)` or of their shape, sequences float32
    `(n, steps, features + 1)`, whose last feature is 1 for a step and 0 for padding.

    With a text target the last input is `prefix`, the text so far, see `preprocessing.target.text_target`; a language
    model's prompt is not an input of its own, because it is the beginning of that text. With a target of boxes
    `box_target` has the default boxes.

    With a transform of the user's own, `own`, the raw columns are given to it, and what it returns is encoded.

    Example:
        transforms = Transforms.fit(schema, training_columns)
        inputs = Transforms.from_dict(transforms.to_dict()).apply(columns)
    """

    def __init__(
        self,
        encoders: Mapping[str, tuple[str, Encoder]],
        text_target: TextTarget | None = None,
        box_target: BoxTarget | None = None,
        own: OwnTransform | None = None,
    ) -> None:
        self._encoders = dict(encoders)
        self.text_target, self.box_target, self.own = text_target, box_target, own
        self._apply = [(name, encoder.apply) for name, (_, encoder) in self._encoders.items()]

    @classmethod
    def fit(cls, schema: Schema, columns: Columns, own: OwnTransform | None = None) -> Transforms:
        """Fit the transforms on the training rows.

        Args:
            schema: of the columns that are encoded.
            columns: the training rows of these.
            own: made them of raw columns.

        Raises:
            SchemaError: no field has a value.
        """
        fitter = TransformsFitter(schema)
        for part in in_parts(columns):
            fitter.add(part)
        text_target = TextTarget.fit(schema.target, columns) if schema.target.task == "generation" else None
        box_target = (
            BoxTarget.fit(schema.target, schema.inputs[0], columns)
            if schema.target.task == "detection"
            else None
        )
        return cls(fitter.encoders(), text_target, box_target, own)

    @property
    def input_specs(self) -> dict[str, InputSpec]:
        """Shape, dtype and kind of each model input, in the model's order."""
        specs = {
            name: replace(encoder.spec, columns=columns_in(encoder))
            for name, (_, encoder) in self._encoders.items()
        }
        return specs | ({PREFIX: self.text_target.spec} if self.text_target else {})

    @property
    def categories(self) -> dict[str, list[str]]:
        """The known categories of each raw column of categories, sorted."""
        if self.own is not None:
            return self.own.categories
        found: dict[str, list[str]] = {}
        for _, encoder in self._encoders.values():
            found |= encoder.content.get("categories", {})
        return found

    def described(self) -> dict[str, str]:
        """By column that is encoded, what the model gets, in a few words."""
        found: dict[str, str] = {}
        for _, encoder in self._encoders.values():
            found |= encoder.described()
        return found

    def unseen(self, columns: Columns) -> dict[str, int]:
        """By raw column of categories or ids, the rows whose value training did not know."""
        if self.own is not None:
            return self.own.unseen(columns)
        found: dict[str, int] = {}
        for _, encoder in self._encoders.values():
            found |= encoder.unseen(columns) if isinstance(encoder, FeaturesEncoder | IdEncoder) else {}
        return found

    def labels(self, name: str, values: Array) -> list[Any]:
        """Readable names for the parts of a model input: its features, or for a text the words of each row; else [].

        Args:
            name: the input's name.
            values: its rows.
        """
        kind, encoder = self._encoders[name]
        if isinstance(encoder, FeaturesEncoder):
            return list(encoder.labels)
        if kind not in WRITTEN or "hashed" in encoder.content:
            return []
        words = ["", "?", *encoder.content["words"]]  # 0 is padding, 1 an unseen word
        return [[words[number] for number in row if number] for row in values.tolist()]

    def apply(self, columns: Columns) -> dict[str, Array]:
        """Encode raw columns of `n` rows; the names and shapes are those of `input_specs`.

        Without the target column there is no `prefix`: the decoder builds it token by token.

        Raises:
            TransformError: the user's own transform fails for a row.
        """
        seen = columns if self.own is None else self.own.apply(columns)
        inputs = {name: apply(seen) for name, apply in self._apply}
        if self.text_target is not None and self.text_target.name in columns:
            inputs[PREFIX] = self.text_target.decoder_inputs(columns)
        return inputs

    def attributions_by_column(
        self, columns: Columns, attributions: Mapping[str, Array]
    ) -> dict[str, list[Any]]:
        """Attributions by encoded column instead of model input, one entry per row.

        For numbers and categories a number; for images a map `(h, w)`; for arrays and sequences numbers in the row's
        raw shape; for texts a list of `{"token", "attribution"}`.

        Args:
            columns: raw rows.
            attributions: by model input, `(n, *shape)`; an input that the model does not read may be missing and counts
                as 0.
        """
        found: dict[str, list[Any]] = {}
        rows = len(next(iter(columns.values())))
        columns = columns if self.own is None else self.own.apply(columns)
        for name, (_, encoder) in self._encoders.items():
            nothing = np.zeros((rows, *encoder.spec.shape), np.float32)
            found |= encoder.attributions_by_column(columns, attributions.get(name, nothing))
        return found

    def target(self, schema: Schema, columns: Columns) -> NDArray[Any]:
        """The encoded target: by `TextTarget` for texts, by `BoxTarget` for boxes, else by `encode_target`.

        Of a reconstruction, and of anomalies, it is the model's only input, as the model gets it.
        """
        if schema.target.task in ("reconstruction", "anomaly"):
            (only,) = self.apply(columns).values()
            return only
        special = self.text_target or self.box_target
        return encode_target(schema, columns) if special is None else special.encode(columns)

    def to_dict(self) -> dict[str, Any]:
        """The fitted transforms as plain JSON values; the inputs are a list because their order matters."""
        inputs = [
            {"name": name, "encoder": kind, "content": encoder.content}
            for name, (kind, encoder) in self._encoders.items()
        ]
        content: dict[str, Any] = {"inputs": inputs}
        content |= {} if self.own is None else {"own": self.own.content.model_dump(mode="json")}
        content |= {"answers": self.text_target.content} if self.text_target else {}
        return content | ({"boxes": self.box_target.content} if self.box_target else {})

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Transforms:
        """Rebuild transforms from the result of `to_dict`."""
        encoders = {
            entry["name"]: (entry["encoder"], build(entry["encoder"], entry["content"]))
            for entry in content["inputs"]
        }
        text_target = TextTarget(**content["answers"]) if "answers" in content else None
        boxes = BoxTarget(**content["boxes"]) if "boxes" in content else None
        own = OwnTransform(OwnContent.model_validate(content["own"])) if "own" in content else None
        return cls(encoders, text_target, boxes, own)


class TransformsFitter:
    """Fits all encoders of a schema on training rows that come in parts, each once."""

    def __init__(self, schema: Schema) -> None:
        read = [field for field in schema.inputs if field.name != schema.target.prompt]
        self._single = [field for field in read if _is_single(field)]
        others = [field for field in read if not _is_single(field)]
        taken = ["features"] if self._single else []
        taken += [PREFIX] if schema.target.task == "generation" else []
        names = _input_names([field.name for field in others], taken)
        self._fitters: dict[str, tuple[str, EncoderFitter]] = {}
        if self._single:
            self._fitters["features"] = ("features", FeaturesFitter(self._single))
        for field in others:
            encoder = "array" if field.kind == "numeric" else field.kind
            self._fitters[names[field.name]] = (encoder, FITTERS[field.kind](field))

    def add(self, columns: Columns) -> None:
        """Add training rows."""
        for _, fitter in self._fitters.values():
            fitter.add(columns)

    def beyond(self) -> dict[str, tuple[int, int, int]]:
        """By field of categories or ids with more of them than its limit: all, the limit, training rows beyond it."""
        found: dict[str, tuple[int, int, int]] = {}
        for _, fitter in self._fitters.values():
            found |= fitter.beyond() if isinstance(fitter, FeaturesFitter | IdFitter) else {}
        return found

    def encoders(self) -> dict[str, tuple[str, Encoder]]:
        """By model input, the key in `preprocessing.encoding.encoders.ENCODERS` and the fitted encoder.

        Raises:
            SchemaError: no field has a value.
        """
        found = {name: (kind, fitter.encoder()) for name, (kind, fitter) in self._fitters.items()}
        for name, (known, most, rows) in self.beyond().items():
            tell(
                f"column {name!r} has {known} different values in the training rows, and the {most} most frequent ones "
                f"are known: {rows} rows have another one, {_fate(found, name)}; to learn all, state a larger limit or "
                f"vocabulary, or {{name: {name}, kind: id}} for a model that embeds it"
            )
        if self._single and found["features"][1].spec.shape == (0,):
            names = ", ".join(field.name for field in self._single)
            raise SchemaError(
                f"inputs {names} have no value in any training row; expected some; check the source"
            )
        return found


def _fate(encoders: Mapping[str, tuple[str, Encoder]], name: str) -> str:
    """What becomes of a value that is not known."""
    features = encoders.get("features")
    if features is None or name not in features[1].content["categories"]:
        return "and get the unknown id"
    return "and share `other`" if name in features[1].content.get("other", ()) else "and get no category"


def _is_single(field: Field) -> bool:
    return field.kind in ("categorical", "date") or (field.kind == "numeric" and field.shape == ())


def input_name(column: str) -> str:
    """A column's name with the characters that Keras takes in the name of an input."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", column)
    return safe if safe[:1].isalnum() else f"input{safe}"


def _input_names(names: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for name in names:
        safe = input_name(name)
        while safe in taken or safe in chosen.values():
            safe += "_"
        chosen[name] = safe
    return chosen
