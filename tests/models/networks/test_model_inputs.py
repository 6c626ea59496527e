"""What a user's build gets: each column by its name, what is there where a name is wrong, and pixels in their range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tidegate.models.data.columns import Columns
from tidegate.models.errors import UserModelError
from tidegate.models.export.onnx import export_onnx
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.networks.user_models.model_inputs import runs
from tidegate.models.networks.user_models.pixel_range import require_pixels_in_range
from tidegate.models.networks.user_models.storable import require_storable
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms

ROWS = 30
HEAD = Outputs(3, "softmax")


def columns() -> Columns:
    draw = np.random.default_rng(0)
    city = np.array([["Oslo", "Lima", "Pune"][place % 3] for place in range(ROWS)], object)
    city[4] = None
    return {
        "age": draw.normal(40, 10, ROWS),
        "city": city,
        "visits": draw.normal(3, 1, ROWS),
        "my photo": draw.integers(0, 256, (ROWS, 4, 4, 3)).astype(np.uint8),
        "y": np.arange(ROWS) % 3,
    }


def fitted(scale: str | None = None) -> Transforms:
    inputs: list[dict[str, Any]] = [
        {"name": "age"},
        {"name": "city", "missing": "own"},
        {"name": "visits"},
        {"name": "my photo", "scale": scale},
    ]
    return Transforms.fit(infer_schema(columns(), inputs, ["y"], None), columns())


def built(folder: Path, body: str, transforms: Transforms) -> tuple[Any, Path]:
    path = folder / "my_model.py"
    path.write_text(f"import keras\nfrom keras import layers\n\ndef build(inputs, outputs):\n{body}\n")
    return build_model({"file": str(path)}, transforms.input_specs, HEAD, 1), path


def test_each_column_has_a_tensor_of_its_own(tmp_path: Path) -> None:
    """Its values, in training, saved and loaded again, and exported."""
    transforms = fitted()
    rows = transforms.apply(columns())
    specs = transforms.input_specs
    body = """    assert isinstance(inputs, dict) and list(inputs.columns) == ["age", "visits", "city", "my photo"]
    assert inputs.columns["my photo"] is inputs["my_photo"] and inputs.columns["age"] is inputs.columns["age"]
    parts = [inputs.columns[name] for name in ("city", "age")]
    assert [part.shape for part in parts] == [(None, 4), (None, 1)]
    flat = layers.Flatten()(inputs["my_photo"])
    seen = layers.Concatenate(name="seen")([*parts, flat])
    return keras.Model(inputs, outputs.layer(seen))"""
    model, path = built(tmp_path, body, transforms)
    import keras

    inner = keras.Model(model.inputs, model.get_layer("seen").output)
    seen = predict(inner, rows)
    features = rows["features"]
    places = {part.name: part.places for part in specs["features"].columns}
    np.testing.assert_array_equal(seen[:, :4], features[:, places["city"]])
    assert seen[4, :4].tolist() == [0, 0, 0, 1]  # missing, a feature of its own
    np.testing.assert_array_equal(seen[:, 4:5], features[:, places["age"]])
    require_storable(model, rows, path)
    exported = export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (answers,) = session.run(None, {name: rows[name] for name in exported.inputs})
    np.testing.assert_allclose(answers, predict(model, rows), atol=2e-6)


def test_a_column_is_an_input_of_its_own_name(tmp_path: Path) -> None:
    """A number as it is in `features`, and a category as the index that an Embedding looks up."""
    transforms = fitted()
    rows = transforms.apply(columns())
    body = """    assert [inputs[name].shape for name in ("age", "city")] == [(None, 1), (None, 1)]
    assert inputs["city"].dtype == "int32"
    city = layers.Flatten(name="city")(layers.Embedding(5, 2)(inputs["city"]))
    return keras.Model(inputs, outputs.layer(layers.Concatenate()([inputs["age"], city])))"""
    model, path = built(tmp_path, body, transforms)
    embedded = model.get_layer(index=[type(layer).__name__ for layer in model.layers].index("Embedding"))
    import keras

    inner = keras.Model(model.inputs, embedded.input)
    known = {"Lima": 1, "Oslo": 2, "Pune": 3, None: 4}  # a missing one has a feature of its own
    assert predict(inner, rows)[:, 0].tolist() == [known[city] for city in columns()["city"].tolist()]
    asked = transforms.apply(columns() | {"city": np.array(["Rome"] * ROWS, object)})
    assert not predict(inner, asked).any()
    require_storable(model, rows, path)
    exported = export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (answers,) = session.run(None, {name: rows[name] for name in exported.inputs})
    np.testing.assert_allclose(answers, predict(model, rows), atol=2e-6)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ('inputs["ages"]', r"did you mean 'age'\?"),
        ('inputs["my_foto"]', r"did you mean 'my_photo'\?"),
        ('inputs.columns["aeg"]', r"'aeg' is not a column of the inputs.*did you mean 'age'\?"),
        ('inputs["xyz"]', "inputs.columns has each column by its name"),
    ],
)
def test_a_wrong_name_lists_what_is_there(wrong: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserModelError, match=words) as caught:
        built(tmp_path, f"    x = {wrong}\n    return keras.Model(inputs, outputs.layer(x))", fitted())
    said = str(caught.value)
    assert ":5: build() raised UnknownInputError: " in said
    assert (
        "'features' float32 (rows, 6): [:, 0:1] age, scaled, [:, 1:2] visits, scaled, [:, 2:6] city, one-hot"
        in said
    )
    assert "'my_photo' float32 (rows, 4, 4, 3): my photo, 4 x 4 x 3 pixels, 0 to 1, divided by 255" in said


FLAT = "layers.Dense(2)(layers.Flatten()(x))"
BEGINNINGS: dict[str, tuple[str, bool]] = {
    "nothing": (f"    x = {FLAT}", True),
    "Rescaling as examples have it": (f"    x = layers.Rescaling(1 / 255)(x)\n    x = {FLAT}", False),
    "Rescaling to -1…1": (f"    x = layers.Rescaling(1 / 127.5, offset=-1)(x)\n    x = {FLAT}", False),
    "Rescaling of 0…1 to -1…1": (f"    x = layers.Rescaling(2.0, offset=-1)(x)\n    x = {FLAT}", True),
    "a division": (f"    x = x / 255.0\n    x = {FLAT}", False),
    "the means of a known network": (
        f"    x = keras.applications.resnet50.preprocess_input(x)\n    x = {FLAT}",
        False,
    ),
    "after augmentation": (
        f"    x = layers.RandomFlip()(x)\n    x = layers.Rescaling(1 / 255)(x)\n    x = {FLAT}",
        False,
    ),
    "in a nested model": (
        "    x = keras.Sequential([layers.Rescaling(1 / 255), layers.Conv2D(2, 3), layers.Flatten()])(x)",
        False,
    ),
    "each image standardised by itself": (
        "    x = x - keras.ops.mean(x, (1, 2, 3), keepdims=True)\n"
        f"    x = x / (keras.ops.std(x, (1, 2, 3), keepdims=True) + 1e-3)\n    x = {FLAT}",
        True,
    ),
    "behind weights": (
        f"    x = layers.Conv2D(2, 3)(x)\n    x = layers.Rescaling(1 / 255)(x)\n    x = {FLAT}",
        True,
    ),
}


@pytest.mark.parametrize("case", BEGINNINGS)
def test_a_model_that_expects_0_to_255_is_told_before_it_is_trained(case: str, tmp_path: Path) -> None:
    begin, fine = BEGINNINGS[case]
    body = f'    x = inputs["my_photo"]\n{begin}\n    return keras.Model(inputs, outputs.layer(x))'
    for transforms, passes in ((fitted(), fine), (fitted("none"), True)):
        model, path = built(tmp_path, body, transforms)
        if passes:
            require_pixels_in_range(model, transforms.input_specs, path)
            continue
        with pytest.raises(
            UserModelError, match=r"my_photo are 0 to 1 already.*such as Rescaling.*scale: none"
        ):
            require_pixels_in_range(model, transforms.input_specs, path)


def test_positions_are_joined_to_ranges() -> None:
    assert runs((0, 1, 2, 5, 7, 8)) == [(0, 3), (5, 6), (7, 9)]
    assert runs(()) == []
