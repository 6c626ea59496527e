"""Weights of rows: the loss that `Model.fit(sample_weight=...)` computes, on every loop; metrics count each row once.

`KERAS_BACKEND=... python -m tests.models.training.test_sample_weights` prints what one backend computes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.models.on_backend import printed_on
from tidegate.models.errors import DataError, OptionsError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.prepare import prepare
from tidegate.models.preprocessing.prepare_streamed import StreamedData, prepare_streamed
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.preprocessing.windows import ShuffleWindows
from tidegate.models.training.cross_validation import cross_validate
from tidegate.models.training.fit import fit
from tidegate.models.training.recipe import Recipe

RANDOM = np.random.default_rng(0)
ROWS, HELD = 60, 20
X = RANDOM.normal(size=(ROWS + HELD, 4)).astype(np.float32)
Y = (X[:, :1] * 2 + RANDOM.normal(size=(ROWS + HELD, 1))).astype(np.float32)
W = RANDOM.exponential(size=ROWS + HELD).astype(np.float32)
TRAIN, VALIDATION = ({"x": X[:ROWS]}, Y[:ROWS]), ({"x": X[ROWS:]}, Y[ROWS:])
# One batch an epoch: its rows' order does not matter.
OPTIONS = {
    "epochs": 3,
    "batch_size": ROWS,
    "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.0},
}
SPECS = {"x": InputSpec((4,), "float32", "numeric")}


def built() -> Any:
    return build_model({"family": "mlp", "hidden": [3]}, SPECS, outputs_for("regression", 0, 1), 1)


def trained(backend: str) -> list[dict[str, float]]:
    model = built()
    history = fit(
        model,
        TRAIN,
        VALIDATION,
        {**OPTIONS, "backend": backend, "metrics": ["mae"]},
        task="regression",
        classes=(),
        seed=1,
        weights=W[:ROWS],
        validation_weights=W[ROWS:],
    )
    return history.epochs


def by_keras() -> dict[str, list[float]]:
    model = built()
    model.compile(keras.optimizers.SGD(0.05), "mean_squared_error", metrics=["mae"])
    held = (VALIDATION[0], VALIDATION[1], W[ROWS:])
    done = model.fit(
        *TRAIN,
        sample_weight=W[:ROWS],
        batch_size=ROWS,
        epochs=3,
        shuffle=False,
        verbose=0,
        validation_data=held,
    )
    return dict(done.history)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("backend", ["tensorflow", "numpy"])
def test_the_loss_is_that_of_keras(backend: str) -> None:
    _check(trained(backend), by_keras())


def test_the_loss_is_that_of_keras_on_jax() -> None:
    _check(*printed_on("jax", "-m", "tests.models.training.test_sample_weights"))


def _check(found: list[dict[str, float]], known: dict[str, list[float]]) -> None:
    for name, values in known.items():
        np.testing.assert_allclose([epoch[name] for epoch in found], values, rtol=2e-5, err_msg=name)


def test_a_row_of_weight_two_is_two_rows_and_of_weight_zero_none() -> None:
    twice = np.r_[np.arange(30), np.arange(30)]
    weights = np.r_[np.full(30, 2.0), np.zeros(30)].astype(np.float32)
    doubled, model = built(), built()
    fit(
        doubled,
        ({"x": X[twice]}, Y[twice]),
        None,
        OPTIONS,
        task="regression",
        classes=(),
        seed=1,
    )
    fit(model, TRAIN, None, OPTIONS, task="regression", classes=(), seed=1, weights=weights)
    for one, other in zip(doubled.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def source(folder: Path, weights: Any) -> Path:
    path = folder / "rows.csv"
    rows = zip(X[:, 0], weights, np.arange(len(X)) // 2, Y[:, 0], strict=False)
    path.write_text("x,w,g,y\n" + "".join(f"{x},{w},{g},{y}\n" for x, w, g, y in rows))
    return path


def test_weights_stay_with_their_rows_and_are_no_input(tmp_path: Path) -> None:
    path = source(tmp_path, W)
    prepared = prepare(source=path, target=["y"], weight="w", split={"group": "g", "folds": 2})
    assert [field.name for field in prepared.schema.inputs] == ["x"]
    known = {round(float(x), 4): w for x, w in zip(X[:, 0], W, strict=True)}
    train = prepared.splits["train"]
    np.testing.assert_allclose([known[round(x, 4)] for x in train["x"].tolist()], train["w"], rtol=1e-6)
    recipe = Recipe({"family": "linear"}, _whole(OPTIONS), prepared.schema.target, 1)
    split = {"folds": 2, "validation": 0.3, "seed": 7, "group": "g", "weight": "w"}
    done: list[int] = []
    cross_validate(recipe, prepared.schema, train, split, _nothing, lambda fold, _: done.append(fold))
    assert done == [0, 1]


def _whole(training: dict[str, Any]) -> dict[str, Any]:
    from tidegate.models.config.training import Training

    return Training.model_validate(training).model_dump()


def _nothing(fold: int) -> Any:
    from contextlib import nullcontext

    del fold
    return nullcontext(None)


def test_weights_of_streamed_rows(tmp_path: Path) -> None:
    path, kept = source(tmp_path, W), []

    def keep(file: Path) -> Path:
        kept.append(file.rename(tmp_path / f"shard{len(kept)}.npz"))
        return kept[-1]

    data = StreamedData(
        source=path,
        format=None,
        inputs=None,
        target=["y"],
        split={"group": "g"},
        task=None,
        sample_rate=None,
        memory=1 << 30,
        folder=tmp_path,
        keep=keep,
        weight="w",
    )
    made = prepare_streamed(data)
    held = prepare(source=path, target=["y"], weight="w", split={"group": "g"})
    assert not set(made.splits["test"]["g"].tolist()) & set(made.splits["train"]["g"].tolist())
    windows = ShuffleWindows(
        made.shards, made.schema, made.transforms, np.zeros(0, np.int64), 1 << 26, 8, weight="w"
    )
    inputs, target, weights = next(windows.read(windows.order(np.random.default_rng(0)), 0))
    known = {round(float(y), 4): w for y, w in zip(Y[:, 0], W, strict=True)}
    np.testing.assert_allclose([known[round(float(y), 4)] for y in target[:, 0]], weights, rtol=1e-6)
    assert list(inputs) == ["features"] and held.schema == made.schema


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (
            np.append(W[1:], -1.0),
            r"'w' is -1.0 in 1 of \d+ rows of one part; expected a finite number, 0 or more",
        ),
        (np.append(W[1:], np.nan), "'w' is nan in 1 of"),
        (np.append(W[1:], np.inf), "'w' is inf in 1 of"),
        (np.zeros(len(W)), r"'w' is 0 in all \d+ train rows; expected some above 0"),
        (["a"] * len(W), "column 'w' holds 'a' in row 1, and 80 of 80 cells are no numbers"),
    ],
)
def test_weights_that_mean_nothing_are_refused(tmp_path: Path, weights: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        prepare(source=source(tmp_path, weights), target=["y"], weight="w")


def test_pretraining_has_no_weights() -> None:
    prepared = prepare(dataset="diabetes")
    recipe = Recipe({"family": "mlp", "pretrain": {"epochs": 1}}, _whole(OPTIONS), prepared.schema.target, 1)
    with pytest.raises(OptionsError, match=r"'model.pretrain' is given, and data.weight"):
        recipe.train(prepared.transforms, TRAIN, VALIDATION, weights=W[:ROWS])


if __name__ == "__main__":
    print(json.dumps([trained(os.environ["KERAS_BACKEND"]), by_keras()]))
