"""Bundles of the families that write texts, on every runtime; the weights are drawn, not learned.

`python -m tests.conformance.texts FOLDER`, in a process of its own: it imports TensorFlow.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.bundles import write_bundles
from tidegate.models.data.columns import Columns
from tidegate.models.decoding.settings import Decoding
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.schema_inference import infer_schema
from tidegate.models.preprocessing.transforms import Transforms
from tidegate.serving.inference.predictor import sample_rows

ROWS = 64
CASES = ("char_lm", "gpt", "seq2seq")
DECODING = {
    "char_lm": Decoding(method="sample", temperature=0.5, top_k=5, max_length=12),
    "gpt": Decoding(method="sample", temperature=0.5, top_k=5, max_length=12),
    "seq2seq": Decoding(method="beam", width=3),
}
MODELS: dict[str, dict[str, Any]] = {
    "char_lm": {"family": "char_lm", "units": [16], "embedding": 8},
    "gpt": {"family": "gpt", "width": 16, "layers": 2, "heads": 2},
    "seq2seq": {"family": "seq2seq", "units": 16, "embedding": 8},
}


def case(family: str) -> tuple[Schema, Columns]:
    """A schema and raw rows: prompts of letters to go on from, or words to write backwards."""
    random = np.random.default_rng(5)
    words = ["".join(random.choice(list("abcdæ水"), random.integers(0, 7))) for _ in range(ROWS)]
    given, wanted = (
        np.array(words, object),
        np.array([" ".join(reversed(word)).upper() for word in words], object),
    )
    if family == "seq2seq":
        inputs = [{"name": "word", "kind": "text", "tokens": "characters", "length": 8}]
        columns: Columns = {"word": given, "backwards": wanted}
        return infer_schema(
            columns, inputs, ["backwards"], "generation", {"tokens": "words", "length": 7}
        ), columns
    columns = {"prompt": given, "text": wanted}
    reading = {"prompt": "prompt", "length": 9}
    reading |= {"tokens": "subwords", "vocabulary": 30} if family == "gpt" else {}
    return infer_schema(
        columns, [{"name": "prompt", "kind": "text"}], ["text"], "generation", reading
    ), columns


def build(family: str, folder: Path) -> None:
    """Write `folder/FAMILY-RUNTIME` for each runtime, and its rows beside it."""
    schema, columns = case(family)
    transforms = Transforms.fit(schema, columns)
    assert transforms.text_target is not None
    outputs = outputs_for("generation", transforms.text_target.spec.vocabulary, 1)
    network = build_model(MODELS[family], transforms.input_specs, outputs, 3)
    random = np.random.default_rng(1)
    # As drawn by default, all tokens are about equally probable after whatever.
    network.set_weights([random.normal(size=weight.shape) for weight in network.get_weights()])
    sample = sample_rows({field.name: columns[field.name] for field in schema.inputs})
    write_bundles(folder, family, schema, transforms, network, columns, sample, DECODING[family])


if __name__ == "__main__":
    for name in CASES:
        build(name, Path(sys.argv[1]))
