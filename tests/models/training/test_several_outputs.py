"""Models of several outputs and of dense ones: what a user's build may return, losses by output, export."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.errors import ModelsError
from tidegate.models.export.onnx import export_onnx
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.training.recipe import Recipe
from tidegate.models.user_code.project import use_project
from tidegate.serving.runtimes import load_model

ROWS = 64
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(ROWS, 4)).astype(np.float32)
HEAD = "import keras\nfrom keras import layers\n\n\ndef build(inputs, outputs):\n    x = inputs['x']\n"
TRAINING = {"epochs": 1, "batch_size": 16, "optimizer": "sgd"}
DENSE = "    x = layers.Reshape((4, 4, 1))(layers.Dense(16)(x))\n"


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return _prepared(tmp_path_factory.mktemp("d"), ["weight", "animal"])


def _prepared(folder: Path, target: list[Any], task: str | None = None) -> Prepared:
    animal = np.array(["cat", "dog", "bird"])[np.arange(ROWS) % 3]
    mask = RANDOM.integers(0, 3, (ROWS, 4, 4)).astype(np.uint8)
    clean = RANDOM.random((ROWS, 4, 4)).astype(np.float32)
    np.savez(folder / "d.npz", x=X, animal=animal, weight=40 * X[:, 0] + 3, mask=mask, clean=clean)
    return prepare(source=folder / "d.npz", inputs=[{"name": "x"}], target=target, task=task)


def _trained(prepared: Prepared, model: dict[str, Any], **training: Any) -> tuple[Any, Any, Any]:
    from tidegate.models.config.training import Training

    options = Training.model_validate(TRAINING | training).model_dump()
    recipe = Recipe(model, options, prepared.schema.target, seed=1)
    transforms, schema = prepared.transforms, prepared.schema
    rows = {
        name: (transforms.apply(part), transforms.target(schema, part))
        for name, part in prepared.splits.items()
    }
    trained, history = recipe.train(transforms, rows["train"], rows["validation"])
    return trained, history, (rows["test"], recipe)


def _file(folder: Path, body: str) -> dict[str, Any]:
    path = folder / "my_model.py"
    path.write_text(HEAD + body, "utf-8")
    return {"file": str(path)}


@pytest.mark.parametrize(
    "end",
    [
        "{'animal': layers.Dense(3, activation='softmax')(x), 'weight': layers.Dense(1)(x)}",
        "[layers.Dense(1)(x), layers.Dense(3, activation='softmax')(x)]",
        "outputs.layer(x)",
    ],
    ids=["dict", "list", "layer"],
)
def test_a_model_of_several_outputs_is_trained_saved_and_exported(
    several: Prepared, tmp_path: Path, end: str
) -> None:
    trained, history, (test, recipe) = _trained(
        several, _file(tmp_path, f"    return keras.Model(inputs, {end})\n")
    )
    assert {"animal_accuracy", "weight_rmse", "loss", "val_loss"} <= set(history.epochs[0])
    raw = predict(trained, test[0])
    assert raw.shape == (len(test[1]), 4)
    np.testing.assert_allclose(raw[:, :3].sum(axis=1), 1, atol=1e-5)  # animal comes first
    assert {"animal_accuracy", "weight_rmse", "loss"} <= set(recipe.metrics(raw, test[1]).values)
    exported = export_onnx(trained, tmp_path / "m.onnx")
    assert exported.outputs == ("animal", "weight")
    served = load_model("onnx", tmp_path / "m.onnx")(test[0])
    np.testing.assert_allclose(served, raw, atol=1e-4)


def test_weights_and_losses_of_outputs_are_those_stated(several: Prepared) -> None:
    outputs = {"weight": {"loss": "mae", "weight": 0.01, "metrics": ["mse"]}, "animal": {"metrics": ["auc"]}}
    _, history, _ = _trained(several, {"family": "mlp"}, outputs=outputs, batch_size=64)
    values = history.epochs[0]
    assert {"animal_auc", "weight_mse"} <= set(values)
    assert values["loss"] == pytest.approx(values["animal_loss"] + 0.01 * values["weight_loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("target", "task", "loss", "layers"),
    [
        (
            ["mask"],
            "classification",
            "sparse_categorical_crossentropy",
            "layers.Conv2D(3, 1, activation='softmax')(x)",
        ),
        (["mask"], "segmentation", "dice", "layers.Conv2D(3, 1, activation='softmax')(x)"),
        (["clean"], "classification", "binary_crossentropy", "layers.Activation('sigmoid')(x)"),
        (["clean"], None, "mse", "layers.Reshape((4, 4))(x)"),
    ],
)
def test_a_dense_answer_has_the_targets_shape(
    tmp_path: Path, target: list[str], task: str | None, loss: str, layers: str
) -> None:
    prepared = _prepared(tmp_path, target, task)
    model = _file(tmp_path, f"{DENSE}    return keras.Model(inputs, {layers})\n")
    trained, history, (test, recipe) = _trained(prepared, model, loss=loss)
    assert np.isfinite(history.epochs[0]["val_loss"])
    metrics = recipe.metrics(predict(trained, test[0]), test[1]).values
    assert ("mean_iou" if target == ["mask"] else "rmse") in metrics


WRONG = [
    (
        "return keras.Model(inputs, layers.Dense(4)(x))",
        {},
        r"expected \{animal: \(None, 3\), weight: \(None, 1\)\}",
    ),
    (
        "return keras.Model(inputs, {'animal': layers.Dense(2)(x), 'weight': layers.Dense(1)(x)})",
        {},
        r"animal: \(None, 2\).*expected \{animal: \(None, 3\)",
    ),
    (
        "return keras.Model(inputs, {'animal': layers.Dense(3)(x), 'weight': layers.Dense(1)(x)})",
        {},
        "outputs are not probabilities",
    ),
    (
        "return keras.Model(inputs, outputs.layer(x))",
        {"loss": "mse"},
        "'training.loss' is.*expected it by output",
    ),
    (
        "return keras.Model(inputs, outputs.layer(x))",
        {"outputs": {"wieght": {}}},
        "names wieght, and the model has the outputs animal, weight",
    ),
    (
        "return keras.Model(inputs, outputs.layer(x))",
        {"outputs": {"weight": {"loss": "categorical_crossentropy"}}},
        "loss 'categorical_crossentropy' does not fit a regression",
    ),
    (
        "return keras.Model(inputs, outputs.layer(x))",
        {"outputs": {"animal": {"loss": {"name": "categorical_crossentropy", "from_logits": True}}}},
        "output 'animal' has from_logits: true",
    ),
]


@pytest.mark.parametrize(("end", "training", "said"), WRONG)
def test_what_does_not_fit_is_refused_in_words(
    several: Prepared, tmp_path: Path, end: str, training: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelsError, match=said):
        _trained(several, _file(tmp_path, f"    {end}\n"), **training)


def test_one_output_has_its_loss_in_the_training_section(tmp_path: Path) -> None:
    with pytest.raises(ModelsError, match=r"'training.outputs' is given, and the model has one output"):
        _trained(_prepared(tmp_path, ["weight"]), {"family": "mlp"}, outputs={"weight": {"loss": "mae"}})


def test_a_family_has_no_class_at_each_place(tmp_path: Path) -> None:
    with pytest.raises(ModelsError, match=r"family 'mlp' answers one class a row.*my_model.py"):
        _trained(_prepared(tmp_path, ["mask"], "segmentation"), {"family": "mlp"})


def test_a_model_without_a_target_learns_to_answer_its_input(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X)
    prepared = prepare(source=tmp_path / "d.npz", target=None, task="reconstruction")
    assert (prepared.schema.target.names, prepared.schema.target.shape) == ((), (4,))
    trained, history, (test, recipe) = _trained(prepared, {"family": "mlp", "hidden": [8]})
    np.testing.assert_array_equal(test[0]["x"], test[1])
    assert {"rmse", "mae", "val_loss"} <= set(history.epochs[0])
    assert {"loss", "rmse", "mae"} <= set(recipe.metrics(predict(trained, test[0]), test[1]).values)


def test_several_inputs_are_no_target(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=X, z=X, n=np.arange(ROWS))
    with pytest.raises(
        ModelsError, match=r"data.target is null.*the model gets .*expected one input of numbers"
    ):
        prepare(source=tmp_path / "d.npz", target=None, task="reconstruction")


def test_a_metric_of_ones_own_counts_in_epochs_and_says_so(
    several: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "far_own.py").write_text("def far(y_true, y_pred):\n    return abs(y_true - y_pred)\n")
    use_project([tmp_path])
    try:
        _, history, _ = _trained(
            several, {"family": "mlp", "hidden": [4]}, outputs={"weight": {"metrics": ["far_own:far"]}}
        )
    finally:
        use_project([])
    assert {"weight_far", "val_weight_far"} <= set(history.epochs[0])
    assert "metric weight_far is computed in each epoch, and not of the test rows" in capsys.readouterr().out
