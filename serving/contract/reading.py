"""Reads a client's request by the contract: rows or columns, and the other keys of the body."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tidegate.models.data.columns import Columns
from tidegate.models.decoding.settings import DecodingSettings
from tidegate.models.errors import nearest_name
from tidegate.models.preprocessing.schema import Field
from tidegate.serving.contract.casting import cast_column
from tidegate.serving.contract.contract import COSTLY, Contract
from tidegate.serving.contract.descriptions import describe, expectation
from tidegate.serving.contract.encoded_images import ORIGINAL_SIZES, image_column, is_file
from tidegate.serving.contract.row_reading import RowReader
from tidegate.serving.errors import ContractError


class RequestReader:
    """Reads requests.

    Args:
        contract: of the endpoint.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        pairs = zip(contract.schema_.inputs, contract.inputs, strict=True)
        self._fields = [(field, entry.categories) for field, entry in pairs]
        self._names = frozenset(entry.name for entry in contract.inputs)
        self._row_reader = RowReader(contract) if RowReader.suits(contract) else None
        more = {"decoding": contract.decoding, "detection": contract.detection, "explain": contract.explain}
        # The keys that the body of a request may have.
        self._known = ("rows", *(key for key, known in more.items() if known is not None))

    def parse_request(self, body: Any) -> Columns:
        """Read the parsed body of `POST /predict`, `{"rows": [...]}`; raises ContractError.

        The body may also have `decoding` for a model that writes texts, `detection` for one that finds boxes, see
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
            raise ContractError(extra, "an unknown key", f"only {listed}", "correct or remove it")
        return self.parse_rows(body["rows"])

    def parse_explain(self, body: Any) -> bool:
        """Whether the predictions of a request are to be explained; raises ContractError."""
        if self._contract.explain is None or "explain" not in body:
            return False
        if not isinstance(body["explain"], bool):
            raise ContractError("explain", describe(body["explain"]), "true or false", "correct it")
        return body["explain"]

    def parse_settings(self, body: Any) -> DecodingSettings | None:
        """How the texts or boxes of a request are chosen: by the release's settings, changed by those in the request.

        The settings in COSTLY may be smaller than the release's, but not larger: they decide what a request costs.

        Raises:
            ContractError: naming the key.
        """
        name, settings = self._contract.settings_key, self._contract.settings
        given = body.get(name) if isinstance(body, dict) else None
        if settings is None or given is None:
            return settings
        if not isinstance(given, dict):
            example = (
                'an object such as {"seed": 1}'
                if self._contract.decoding
                else 'an object such as {"score": 0.3}'
            )
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
        requested = {key: int(value) if _is_integer(value) else value for key, value in given.items()}
        try:
            return type(settings).model_validate({**own, **requested}, strict=True)
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
            One column per input, see `contract.casting.cast_column`; of a detection model also ORIGINAL_SIZES.

        Raises:
            ContractError: naming field and row, what was received, what is expected and the fix.
        """
        if not isinstance(rows, list):
            raise ContractError("rows", describe(rows), "an array of rows", "send rows as [row, row, ...]")
        if not rows:
            raise ContractError("rows", "an empty array", "at least one row", "send one row or more")
        quick = None if self._row_reader is None else self._row_reader.of_objects(rows)
        if quick is not None:
            return quick
        rows = self._as_objects(rows)
        return self._cast({name: [row[name] for row in rows] for name in self._names})

    def parse_columns(self, columns: Any) -> Columns:
        """Turn `{input name: [one value per row]}` into raw columns; the same rules and errors as `parse_rows`."""
        expected = f"an object with the fields {', '.join(entry.name for entry in self._contract.inputs)}"
        if not isinstance(columns, dict):
            raise ContractError("inputs", describe(columns), expected, "name every input")
        extra = next((name for name in columns if name not in self._names), None)
        if extra is not None:
            raise ContractError(str(extra), "an input the model does not have", expected, "remove it")
        absent = next((name for name in self._names if name not in columns), None)
        if absent is not None:
            raise ContractError(absent, "no such input", expected, "add it")
        self._check_lengths(columns)
        return self._cast(columns)

    def _cast(self, values: Mapping[str, list[Any]]) -> Columns:
        columns: Columns = {}
        for field, categories in self._fields:
            if field.kind != "image":
                columns[field.name] = cast_column(field, categories, values[field.name])
                continue
            columns[field.name], sizes = image_column(field, values[field.name])
            if self._contract.detection is not None:
                columns[ORIGINAL_SIZES] = sizes
        return columns

    def _check_lengths(self, columns: dict[str, Any]) -> None:
        first = None
        for name, column in columns.items():
            if not isinstance(column, list) or not column:
                received = describe(column)
                raise ContractError(name, received, "an array of one value per row", "send one row or more")
            first = len(column) if first is None else first
            if len(column) != first:
                expected = f"{first} rows, as the other inputs have"
                raise ContractError(name, f"{len(column)} rows", expected, "send as many rows of every input")

    def _as_objects(self, rows: list[Any]) -> list[dict[str, Any]]:
        names = self._names
        if len(names) == 1:
            (name,) = names
            rows = [{name: row} if type(row) is not dict or _is_bare(row, name) else row for row in rows]
        for position, row in enumerate(rows):
            if type(row) is not dict or row.keys() != names:
                raise self._row_error(position, row)
        return rows

    def _row_error(self, position: int, row: Any) -> ContractError:
        names = [entry.name for entry in self._contract.inputs]
        if not isinstance(row, dict):
            expected = f"an object with the fields {', '.join(names)}"
            return ContractError("rows", describe(row), expected, "name every value", position)
        extra = next((name for name in row if name not in self._names), None)
        absent = next((entry for entry in self._contract.inputs if entry.name not in row), None)
        if absent is None:
            listed = f"only the fields {', '.join(names)}"
            return ContractError(str(extra), "a field the model does not have", listed, "remove it", position)
        if extra is not None and nearest_name(extra, [absent.name]):
            return ContractError(
                extra, "a field the model does not have", f"the field {absent.name!r}", "rename it", position
            )
        expected = expectation(self._field(absent.name), absent.categories)
        hint = (
            "add it"
            if absent.shape or absent.nullable is False
            else "add it; null where its value is missing"
        )
        return ContractError(absent.name, "no such field in the row", expected, hint, position)

    def _field(self, name: str) -> Field:
        return next(field for field in self._contract.schema_.inputs if field.name == name)


def _is_bare(row: dict[str, Any], name: str) -> bool:
    """Whether an object is the only input's value itself, an encoded file, and not a row."""
    return is_file(row) and name not in row


def _is_integer(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()
