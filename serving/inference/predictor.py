"""Raw rows to predictions: the same object offline, in the parity check and in the server."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.data.item_lists import LISTS, items_of
from tidegate.models.data.sequences import without_padding
from tidegate.models.decoding.detections import NO_BOX, NUMBERS, detect
from tidegate.models.decoding.settings import Decoding, DecodingSettings, Detection
from tidegate.models.decoding.texts import decode
from tidegate.models.errors import TransformError, UserCodeError
from tidegate.models.evaluation.text_metrics import token_probabilities
from tidegate.models.preprocessing.schema import Field, Schema
from tidegate.models.preprocessing.target.answers import as_answers
from tidegate.models.preprocessing.target.text_target import BOUNDARY, TextTarget
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.models.user_code.code_folder import is_code_folder, use_code
from tidegate.serving.bundle.bundle import Bundle, open_bundle
from tidegate.serving.contract.answers import Prediction
from tidegate.serving.contract.contract import Contract
from tidegate.serving.contract.encoded_images import ORIGINAL_SIZES, can_encode, encode_image
from tidegate.serving.contract.reading import RequestReader
from tidegate.serving.errors import ContractError, ModelLoadError, PredictionError
from tidegate.serving.runtimes import Run, load_cached, load_model

# Called with a row's number and a piece of its text, None at its end.
Tell = Callable[[int, str | None], None]
MAX_EXAMPLE_NUMBERS = 10_000  # numbers of an array in an example


class Predictor:
    """Predicts from raw values with a bundle's transforms and model.

    Args:
        contract: what rows and predictions are.
        transforms: raw columns to model inputs.
        run: the loaded model.
    """

    def __init__(self, contract: Contract, transforms: Transforms, run: Run) -> None:
        self.contract = contract
        self.reader = RequestReader(contract)
        self.transforms = transforms
        self.run = run

    @classmethod
    def of(cls, bundle: Bundle | Path, threads: int | None = None) -> "Predictor":
        """Load a bundle; `threads` as in `load_model`. Raises BundleError, ModelLoadError."""
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        load_transform(opened.transforms, opened.code)
        run: Run
        if opened.cached is not None:  # it answers whole texts too: one of the two files is enough
            run = load_cached(opened.cached, threads=threads)
        else:
            run = load_model(opened.manifest.runtime, opened.model, code=opened.code, threads=threads)
        return cls(opened.contract, opened.transforms, run)

    def predict_columns(
        self,
        columns: Columns,
        settings: DecodingSettings | None = None,
        until: float | None = None,
        tell: Tell | None = None,
    ) -> NDArray[Any]:
        """Predict from raw columns.

        Args:
            columns: one per input of the contract; for boxes also ORIGINAL_SIZES, where images were resized.
            settings: how texts or boxes are chosen; None: as the contract says.
            until: `time.monotonic()` after which texts are given up; None: never.
            tell: called with a row's number and what each token adds to its text, None at its end; never by beam.

        Returns:
            Answers `(n, units)`, float32, such as probabilities in the order of the contract's classes, see
            `preprocessing.target.answers`; texts as objects `(n, 2)`, log-probability and text; boxes
            `(n, max_boxes, 6)`, see `decoding.detections`.

        Raises:
            PredictionError: the model's output has another shape, or is not finite; or the time is over.
            ContractError: see `inputs`.
        """
        if self.contract.decoding is not None:
            chosen = settings if isinstance(settings, Decoding) else self.contract.decoding
            return self._texts(columns, chosen, until, tell)
        if self.contract.detection is not None:
            return self._boxes(
                columns, settings if isinstance(settings, Detection) else self.contract.detection
            )
        raw = self.run(self.inputs(columns))
        values, units = as_answers(self.contract.target_, raw), self.contract.target_.units
        if values.shape[1] != units or not _finite(values):
            raise PredictionError(
                f"the model's output has the shape {raw.shape}, or a number that is not "
                f"finite; expected (rows, {units}) finite numbers; check the inputs' scale, or train again"
            )
        return values

    def inputs(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """Encode raw columns as model inputs.

        Raises:
            ContractError: the user's own transform fails for a row.
        """
        try:
            return self.transforms.apply(columns)
        except TransformError as error:
            raise ContractError(
                "rows",
                f"values that the transform refuses: {error}",
                "values like those of the data",
                "correct the row, or the transform",
                error.row,
            ) from error

    def token_probabilities(self, columns: Columns) -> NDArray[np.float32]:
        """What a model of texts says of held-out texts, see `evaluation.text_metrics.token_probabilities`."""
        transforms = self.transforms
        assert transforms.text_target is not None
        return token_probabilities(self.run, self.inputs(columns), transforms.text_target.encode(columns))

    def raw_output(self, columns: Columns) -> NDArray[np.float32]:
        """The model's own output for raw columns."""
        return self.run(self.inputs(columns))

    def _boxes(self, columns: Columns, detection: Detection) -> NDArray[np.float32]:
        boxes, own = self.transforms.box_target, self.contract.detection
        if boxes is None or own is None:
            raise PredictionError(
                "the bundle has no default boxes; expected those of its model; build it again"
            )
        raw = self.raw_output(columns)
        sizes = columns.get(ORIGINAL_SIZES)
        try:
            found = detect(
                raw, boxes, detection, np.tile(boxes.size, (len(raw), 1)) if sizes is None else sizes
            )
        except ValueError as error:
            raise PredictionError(f"the model answered no boxes ({error}); train it again") from error
        whole = np.zeros((len(found), own.max_boxes, NUMBERS), np.float32)
        whole[:, :, 0] = NO_BOX
        whole[:, : found.shape[1]] = found
        return whole

    def _texts(
        self, columns: Columns, decoding: Decoding, until: float | None, tell: Tell | None
    ) -> NDArray[Any]:
        answers, prompt = self.transforms.text_target, self.contract.prompt
        if answers is None:
            raise PredictionError("the bundle has no tokens; expected those of its model; build it again")
        count = len(next(iter(columns.values())))
        leads = [answers.prompt_ids(text) for text in columns[prompt].tolist()] if prompt else [[]] * count
        try:
            texts = decode(
                self.run, answers, self.inputs(columns), leads, decoding, until, _telling(answers, tell)
            )
        except TimeoutError as error:
            raise PredictionError(
                "the time for this request is over; ask for fewer or shorter texts"
            ) from error
        except (ValueError, IndexError) as error:
            raise PredictionError(
                f"the model answered no probabilities of tokens ({error}); train it again"
            ) from error
        values = np.empty((count, 2), object)
        values[:] = [(text.log_probability, answers.text(text.tokens)) for text in texts]
        return values

    def predict_rows(self, rows: list[Any]) -> list[Prediction]:
        """Predict from rows as in a request; raises ContractError, PredictionError."""
        return self.contract.predictions(self.predict_columns(self.reader.parse_rows(rows)))


def _telling(answers: TextTarget, tell: Tell | None) -> Callable[[int, int], None] | None:
    """What is called with tokens, and tells their texts."""
    if tell is None:
        return None
    told, begun = tell, set[int]()

    def written(row: int, token: int) -> None:
        told(row, None if token == BOUNDARY else answers.piece(token, row not in begun))
        begun.add(row)

    return written


def load_transform(transforms: Transforms, code: Path | None) -> None:
    """Import the user's own transform, if there is one, from a bundle's or a step's code folder.

    Raises:
        ModelLoadError: it cannot be imported.
    """
    if transforms.own is None:
        return
    try:
        if code is not None and is_code_folder(code):
            use_code(code)
        transforms.own.load()
    except (UserCodeError, OSError, ValueError) as error:
        raise ModelLoadError(f"the transform cannot be loaded: {error}") from error


def _finite(values: NDArray[np.float32]) -> bool:
    """Whether all are finite; a cheap sum of squares decides, and each number only where that overflows."""
    flat = values.ravel()
    return math.isfinite(np.dot(flat, flat)) or bool(np.isfinite(flat).all())


def sample_rows(columns: Columns, count: int = 3) -> list[Any]:
    """The first raw rows as in a request: a bare value per row for one input, else objects by name.

    Args:
        columns: the input columns only.
        count: how many rows.
    """
    listed = {name: [_json(value) for value in column[:count]] for name, column in columns.items()}
    if len(listed) == 1:
        return next(iter(listed.values()))
    return [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]


def example_rows(schema: Schema, columns: Columns) -> list[Any]:
    """The first raw rows, as examples for people: a large image as an encoded file, which fits a command line."""
    inputs = {field.name: columns[field.name] for field in schema.inputs}
    rows = sample_rows(inputs)
    for field in schema.inputs:
        if field.kind in LISTS:
            _list_items(rows, field)
        if not can_encode(field) or math.prod(field.shape) <= MAX_EXAMPLE_NUMBERS:
            continue
        for place, row in enumerate(rows):
            file = encode_image(field, inputs[field.name][place])
            if len(inputs) == 1:
                rows[place] = file
            else:
                row[field.name] = file
    return rows


def _list_items(rows: list[Any], field: Field) -> None:
    """A list as one, in place of its text."""
    for place, row in enumerate(rows):
        cell = row[field.name] if isinstance(row, dict) else row
        listed = None if cell is None else items_of(cell, field.kind)
        if isinstance(row, dict):
            row[field.name] = listed
        else:
            rows[place] = listed


def _json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _listed(value)
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not np.isfinite(plain) else plain


def _listed(value: NDArray[Any]) -> Any:
    """A row's array as lists; of a sequence only the steps that exist."""
    whole = value.dtype.kind != "f" or value.ndim not in (1, 2) or np.isfinite(value[-1:]).any()
    return (value if whole else without_padding(value)).tolist()
