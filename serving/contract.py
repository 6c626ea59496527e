"""The contract of an endpoint: what a row is, what a prediction is, and `GET /contract` that says so."""

import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from models.columns import Columns
from models.decoding.settings import GREEDY, SURE, Decoding, Detection, Settings
from models.explain import STEPS
from models.schema import Class, Field, Kind, Schema, Target, Task
from serving.cells import cast_column
from serving.errors import ContractError
from serving.images import SENT, image_column, is_file
from serving.wording import describe, expectation

Prediction = dict[str, Any] | float | list[float]

FEW = 8
COSTLY = ("width", "max_length", "max_boxes")
MOST_EXPLAINED = 16  # rows of one request, because each takes as long as several hundred predictions
MOST_TOKENS = 8192  # that one request's texts may have together

MISSING = {
    "numeric": "null counts as the mean of the training rows",
    "categorical": "null and a category not listed count as no category",
    "text": "null counts as empty text; a word not seen in training counts as unknown",
    "sequence": "null is refused; a row has 1 to shape[0] steps, and a longer one is refused",
}


class Input(BaseModel):
    """One input as a client sees it: dtype, shape of one row, categories, rule for null."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    missing: str


class Explaining(BaseModel):
    """How predictions are explained, by integrated gradients.

    Attributes:
        rows: of one request with `explain: true` at most.
        steps: points of each row's path from its baseline, at which the gradient is taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = MOST_EXPLAINED
    steps: int = STEPS


class Contract(BaseModel):
    """What an endpoint takes and gives; `classes` is the order of `probabilities`.

    `decoding` is how a text is chosen, of a model that writes one, and `most_rows` how many of them a request may ask
    for; for all others both are left out, as `explain` is where predictions are not explained. `detection` says which
    boxes are answered, of a model that finds some.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    inputs: tuple[Input, ...]
    target: tuple[str, ...]
    classes: tuple[Class, ...] = ()
    prompt: str | None = None
    decoding: Decoding | None = None
    most_rows: int | None = None
    detection: Detection | None = None
    explain: Explaining | None = None

    @classmethod
    def of(
        cls,
        schema: Schema,
        categories: Mapping[str, Sequence[str]],
        settings: Settings | None = None,
        length: int = 0,
        explains: bool = False,
    ) -> "Contract":
        """Build it from the data's schema.

        Args:
            schema: of the data.
            categories: that each categorical field had in training.
            settings: how a text that is to be written, or boxes that are to be found, are chosen; None: the default.
            length: tokens of such a text at most, where `settings` do not say.
            explains: whether predictions are explained where that is asked for.
        """
        writes = schema.target.task == "generation"
        finds = schema.target.task == "detection"
        decoding = settings if isinstance(settings, Decoding) else GREEDY
        longest = decoding.max_length or length or 1
        return cls(
            task=schema.target.task,
            inputs=tuple(_input(field, categories.get(field.name, ())) for field in schema.inputs),
            target=schema.target.names,
            classes=schema.target.classes,
            prompt=schema.target.prompt,
            decoding=decoding.model_copy(update={"max_length": longest}) if writes else None,
            most_rows=max(1, MOST_TOKENS // longest) if writes else None,
            detection=(settings if isinstance(settings, Detection) else SURE) if finds else None,
            explain=Explaining() if explains else None,
        )

    @cached_property
    def schema_(self) -> Schema:
        """The schema it was built from."""
        fields = tuple(
            Field(name=entry.name, kind=entry.kind, dtype=entry.dtype, shape=entry.shape)
            for entry in self.inputs
        )
        target = Target(names=self.target, task=self.task, classes=self.classes, prompt=self.prompt)
        return Schema(inputs=fields, target=target)

    @cached_property
    def _fields(self) -> list[tuple[Field, tuple[str, ...]]]:
        pairs = zip(self.schema_.inputs, self.inputs, strict=True)
        return [(field, entry.categories) for field, entry in pairs]

    @cached_property
    def _known(self) -> tuple[str, ...]:
        """What the body of a request may hold."""
        more = {"decoding": self.decoding, "detection": self.detection, "explain": self.explain}
        return ("rows", *(key for key, known in more.items() if known is not None))

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(entry.name for entry in self.inputs)

    def parse_request(self, body: Any) -> Columns:
        """Read the parsed body of `POST /predict`, `{"rows": [...]}`; raises ContractError.

        Beside them `decoding` may stand where a text is written and `detection` where boxes are found, see
        `parse_settings`, and `explain` where predictions are explained.
        """
        if not isinstance(body, dict) or "rows" not in body:
            raise ContractError(
                "rows", describe(body), 'an object {"rows": [...]}', 'put the rows under "rows"'
            )
        extra = next((key for key in body if key not in self._known), None)
        if extra == "explain":
            fix = "leave it out, or set serving.explain: true in the experiment and submit it again"
            raise ContractError(
                extra, describe(body[extra]), "no such key: this release does not explain", fix
            )
        if extra is not None:
            listed = " and ".join(f'"{key}"' for key in self._known)
            raise ContractError(extra, "a key that is not known", f"{listed} alone", "correct or remove it")
        return self.parse_rows(body["rows"])

    @property
    def settings(self) -> Settings | None:
        """How texts or boxes are chosen; None of all other models."""
        return self.decoding or self.detection

    def parse_explain(self, body: Any) -> bool:
        """Whether the predictions of a request are to be explained; raises ContractError."""
        if self.explain is None or "explain" not in body:
            return False
        if not isinstance(body["explain"], bool):
            raise ContractError("explain", describe(body["explain"]), "true or false", "correct it")
        return body["explain"]

    @property
    def settings_key(self) -> str:
        """What a request calls them."""
        return "decoding" if self.detection is None else "detection"

    def parse_settings(self, body: Any) -> Settings | None:
        """How the texts or boxes of a request are chosen: as the release does, with what the request says instead.

        The settings of COSTLY may be smaller than the release's, and not larger: they are what a request costs.

        Raises:
            ContractError: naming the key.
        """
        name, settings = self.settings_key, self.settings
        given = body.get(name) if isinstance(body, dict) else None
        if settings is None or given is None:
            return settings
        if not isinstance(given, dict):
            example = 'an object such as {"seed": 1}' if self.decoding else 'an object such as {"score": 0.3}'
            raise ContractError(name, describe(given), example, "correct it")
        own = settings.model_dump()
        for key, value in given.items():
            if key not in own:
                received, expected = "an unknown key", f"one of {', '.join(own)}"
                raise ContractError(f"{name}.{key}", received, expected, "remove it")
            most = own[key] if key in COSTLY else None
            if most is not None and not (type(value) in (int, float) and value <= most):
                expected = f"a whole number from 1 to {most}, the release's own"
                raise ContractError(f"{name}.{key}", describe(value), expected, "ask for less")
        whole = {key: int(value) if _is_whole(value) else value for key, value in given.items()}
        try:
            return type(settings).model_validate({**own, **whole}, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            key = str(problem["loc"][0])
            expected = problem["msg"].removeprefix("Input should be ")
            raise ContractError(
                f"{name}.{key}", describe(given[key]), expected, "correct it, or leave it out"
            ) from None

    def parse_rows(self, rows: Any) -> Columns:
        """Turn rows of a request into raw columns.

        Args:
            rows: a list of objects `{input name: value}`; where there is exactly one input, a row may
                also be its bare value (an array, a number, a text, or an image file as `{"b64": ...}`).

        Returns:
            One column an input, see `serving.cells.cast_column`; where boxes are found also SENT, the images' own
            sizes.

        Raises:
            ContractError: naming field and row, what was received, what is expected and the fix.
        """
        if not isinstance(rows, list):
            raise ContractError("rows", describe(rows), "an array of rows", "send rows as [row, row, ...]")
        if not rows:
            raise ContractError("rows", "an empty array", "at least one row", "send one row or more")
        rows = self._as_objects(rows)
        return self._cast({name: [row[name] for row in rows] for name in self._names})

    def parse_columns(self, columns: Any) -> Columns:
        """Turn `{input name: [one value a row]}` into raw columns; the same rules and errors as `parse_rows`."""
        wanted = f"an object with the fields {', '.join(entry.name for entry in self.inputs)}"
        if not isinstance(columns, dict):
            raise ContractError("inputs", describe(columns), wanted, "name every input")
        extra = next((name for name in columns if name not in self._names), None)
        if extra is not None:
            raise ContractError(str(extra), "an input the model does not have", wanted, "remove it")
        absent = next((name for name in self._names if name not in columns), None)
        if absent is not None:
            raise ContractError(absent, "no such input", wanted, "add it")
        self._check_lengths(columns)
        return self._cast(columns)

    def _cast(self, values: Mapping[str, list[Any]]) -> Columns:
        columns: Columns = {}
        for field, categories in self._fields:
            if field.kind != "image":
                columns[field.name] = cast_column(field, categories, values[field.name])
                continue
            columns[field.name], sizes = image_column(field, values[field.name])
            if self.detection is not None:
                columns[SENT] = sizes
        return columns

    def _check_lengths(self, columns: dict[str, Any]) -> None:
        first = None
        for name, column in columns.items():
            if not isinstance(column, list) or not column:
                received = describe(column)
                raise ContractError(name, received, "an array of one value a row", "send one row or more")
            first = len(column) if first is None else first
            if len(column) != first:
                expected = f"{first} rows, as the other inputs have"
                raise ContractError(name, f"{len(column)} rows", expected, "send as many of every input")

    def _as_objects(self, rows: list[Any]) -> list[dict[str, Any]]:
        names = self._names
        if len(names) == 1:
            (name,) = names
            rows = [{name: row} if type(row) is not dict or _is_bare(row, name) else row for row in rows]
        for position, row in enumerate(rows):
            if type(row) is not dict or row.keys() != names:
                raise self._blame_row(position, row)
        return rows

    def _blame_row(self, position: int, row: Any) -> ContractError:
        names = [entry.name for entry in self.inputs]
        if not isinstance(row, dict):
            wanted = f"an object with the fields {', '.join(names)}"
            return ContractError("rows", describe(row), wanted, "name every value", position)
        extra = next((name for name in row if name not in self._names), None)
        absent = next((entry for entry in self.inputs if entry.name not in row), None)
        if absent is None:
            listed = f"only the fields {', '.join(names)}"
            return ContractError(str(extra), "a field the model does not have", listed, "remove it", position)
        if extra is not None and difflib.get_close_matches(extra, [absent.name], 1, 0.5):
            return ContractError(
                extra, "a field the model does not have", f"the field {absent.name!r}", "rename it", position
            )
        expected = expectation(self._field(absent.name), absent.categories)
        hint = "add it" if absent.shape else "add it; null where its value is missing"
        return ContractError(absent.name, "no such field in the row", expected, hint, position)

    def _field(self, name: str) -> Field:
        return next(field for field in self.schema_.inputs if field.name == name)

    def predictions(self, values: NDArray[Any]) -> list[Prediction]:
        """Write predictions as answers have them.

        Args:
            values: probabilities `(n, classes)`, or `(n, outputs)` of a regression, float; of texts objects
                `(n, 2)`, log-probability and text; of boxes `(n, max_boxes, 6)`, see `models.decoding.detections`.

        Returns:
            For a classifier `{"label", "probability", "probabilities"}` a row; for a text `{"text",
            "log_probability"}`; for boxes `{"boxes": [{"label", "score", "box": [left, top, right, bottom]}]}`; else a
            number a row, or a list of numbers where there are several outputs.
        """
        rows = values.tolist()
        if self.detection is not None:
            return [{"boxes": [self._box(box) for box in row if box[0] >= 0]} for row in rows]
        if self.task == "generation":
            return [{"text": text, "log_probability": score} for score, text in rows]
        if self.task == "regression":
            return [row[0] for row in rows] if values.shape[1] == 1 else rows
        best = best_of(values)
        return [
            {"label": self.classes[top], "probability": row[top], "probabilities": row}
            for top, row in zip(best, rows, strict=True)
        ]

    def _box(self, numbers: list[float]) -> dict[str, Any]:
        return {"label": self.classes[int(numbers[0])], "score": numbers[1], "box": numbers[2:]}


def _is_bare(row: dict[str, Any], name: str) -> bool:
    """Whether an object is the one input's value itself, a file, and no row."""
    return is_file(row) and name not in row


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def best_of(values: NDArray[Any]) -> list[int]:
    """The position of the largest value in each row; for few rows without NumPy, which is slow to begin."""
    if len(values) <= FEW:
        return [row.index(max(row)) for row in values.tolist()]
    best: list[int] = values.argmax(axis=1).tolist()
    return best


def _input(field: Field, categories: Sequence[str]) -> Input:
    rule = MISSING.get(field.kind) if not field.shape or field.kind == "sequence" else None
    return Input(
        name=field.name,
        kind=field.kind,
        dtype=field.dtype,
        shape=field.shape,
        categories=tuple(categories),
        missing=rule or "null is refused",
    )
