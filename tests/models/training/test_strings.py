"""Strings in a model: the column itself reaches a TextVectorization layer, and other kinds of models refuse it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.models.errors import ModelsError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import Outputs
from tidegate.models.networks.predict import predict
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.transforms import Transforms

BUILD = """import keras
from keras import layers


def build(inputs, outputs):
    vectorize = layers.TextVectorization(output_sequence_length=3, vocabulary=["red", "green"])
    x = layers.Embedding(4, 2)(vectorize(inputs["text"]))
    return keras.Model(inputs, outputs.layer(layers.Flatten()(x)))
"""


def _prepared(folder: Path, kind: str, **options: Any) -> Prepared:
    rows = [{"text": f"red {'green' if row % 2 else 'blue'} {row}", "y": row % 2} for row in range(40)]
    path = folder / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return prepare(source=path, inputs=[{"name": "text", "kind": kind, **options}], target=["y"])


def _own(folder: Path) -> dict[str, Any]:
    (folder / "my_model.py").write_text(BUILD, "utf-8")
    return {"file": str(folder / "my_model.py")}


def test_the_model_gets_the_strings_themselves(tmp_path: Path) -> None:
    prepared = _prepared(tmp_path, "string")
    again = Transforms.from_dict(json.loads(json.dumps(prepared.transforms.to_dict())))
    given = again.apply({"text": np.array(["red red", None], object)})
    assert given["text"].tolist() == [["red red"], [""]]
    assert prepared.transforms.described() == {"text": "the string itself"}
    model = build_model(_own(tmp_path), again.input_specs, Outputs(1, "sigmoid"), seed=1)
    answers = predict(model, {"text": np.array([["red green"], ["Red GREEN"], ["blue"]], object)})
    assert answers[0] == answers[1] and answers[0] != answers[2]


def test_ids_of_words_are_no_strings_and_the_error_names_the_kind(tmp_path: Path) -> None:
    specs = _prepared(tmp_path, "text").transforms.input_specs
    with pytest.raises(ModelsError, match=r"set data.inputs: \[\{name: text, kind: string\}\]"):
        build_model(_own(tmp_path), specs, Outputs(1, "sigmoid"), seed=1)


def test_a_family_and_options_of_tokens_do_not_fit_strings(tmp_path: Path) -> None:
    with pytest.raises(
        ModelsError, match=r"family 'text' cannot take input 'text', which is strings.*kind: text"
    ):
        build_model(
            {"family": "text"}, _prepared(tmp_path, "string").transforms.input_specs, Outputs(1, "sigmoid"), 1
        )
    with pytest.raises(ModelsError, match="has kind string and length; expected no options"):
        _prepared(tmp_path, "string", length=5)
