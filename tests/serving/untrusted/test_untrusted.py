"""Every malicious model file is refused with a reason, before a library that could be tricked has seen it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.untrusted import corpus, corpus_onnx
from tidegate.models.families import FAMILIES
from tidegate.serving.bundle.bundle import open_bundle, write_bundle
from tidegate.serving.bundle.manifest import bundle_digest
from tidegate.serving.errors import BundleError, ModelLoadError, UntrustedModelError
from tidegate.serving.runtimes import load_model
from tidegate.serving.untrusted import check_model

FILES = [(f"{name}.keras", "tensorflow", *entry) for name, entry in corpus.KERAS.items()]
FILES += [(f"{name}.onnx", "onnx", *entry) for name, entry in corpus_onnx.ONNX.items()]


@pytest.mark.parametrize(("name", "runtime", "make", "words"), FILES, ids=[entry[0] for entry in FILES])
def test_it_is_refused_with_a_reason(
    tmp_path: Path, name: str, runtime: str, make: corpus.Make, words: str
) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(UntrustedModelError) as raised:
        check_model(runtime, path)
    told = str(raised.value)
    assert words in told
    assert told.startswith(f"{name} is refused: ")
    assert "; expected " in told


def test_no_library_has_seen_it(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for name, _, make, _ in FILES:
        (tmp_path / name).mkdir()
        make(tmp_path / name / name)
    check = """
import sys
from pathlib import Path
from tidegate.serving.bundle.bundle import open_bundle, write_bundle
from tidegate.serving.bundle.manifest import bundle_digest
from tidegate.serving.errors import UntrustedModelError
from tidegate.serving.runtimes import load_model
refused = 0
for folder in Path(sys.argv[1]).iterdir():
    try:
        load_model("onnx" if folder.suffix == ".onnx" else "tensorflow", folder / folder.name)
    except UntrustedModelError:
        refused += 1
print(refused, {"keras", "tensorflow", "onnxruntime", "onnx"} & set(sys.modules))
"""
    done = run_python("-W", "ignore::UserWarning", "-c", check, str(tmp_path))
    assert done.stdout.strip() == f"{len(FILES)} set()", done.stderr


def test_what_keras_writes_for_our_models_is_loaded(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "my_model.py").write_text(OWN)
    (tmp_path / "make.py").write_text(MODELS)
    made = run_python(str(tmp_path / "make.py"), str(tmp_path), json.dumps(list(FAMILIES)))
    assert made.returncode == 0, made.stderr
    files = sorted(tmp_path.glob("*.keras"))
    assert len(files) == len(FAMILIES) + 2
    for path in files:
        own = path.stem == "own"
        check_model("tensorflow", path, tmp_path / "my_model.py" if own else None)
        if own:
            with pytest.raises(UntrustedModelError, match="'Scale' of 'tidegate_user_model'"):
                check_model("tensorflow", path)


def test_the_good_ones_of_the_corpus_pass(tmp_path: Path) -> None:
    corpus.keras()(tmp_path / "m.keras")
    corpus.keras(change=corpus.member("assets/lookup/vocabulary.txt"))(tmp_path / "words.keras")
    corpus_onnx.onnx_model()(tmp_path / "m.onnx")
    for name in ("m.keras", "words.keras"):
        check_model("tensorflow", tmp_path / name)
    check_model("onnx", tmp_path / "m.onnx")
    assert load_model("onnx", tmp_path / "m.onnx")


def test_a_model_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"cannot load none\.onnx: FileNotFoundError"):
        load_model("onnx", tmp_path / "none.onnx")


def test_a_bundle_of_such_a_model_is_not_written(images: Path, tmp_path: Path) -> None:
    corpus_onnx.ONNX["traversal"][0](tmp_path / "model.onnx")
    good = open_bundle(images)
    with pytest.raises(UntrustedModelError, match="another file"):
        write_bundle(
            tmp_path / "bundle",
            name="evil",
            run="run-1",
            trial="trial-1",
            schema=good.contract.schema_,
            transforms=good.transforms,
            model=tmp_path / "model.onnx",
            runtime="onnx",
            parity=good.manifest.parity,
            sample=good.sample,
            versions={},
        )
    assert not (tmp_path / "bundle").exists()


def test_a_manifest_that_was_changed_with_its_files_is_refused(images: Path) -> None:
    digest = bundle_digest(open_bundle(images).manifest)
    assert open_bundle(images, digest)
    with pytest.raises(BundleError, match="was changed: the bundle's digest is"):
        open_bundle(images, "0" * 64)


OWN = """
import keras


@keras.saving.register_keras_serializable("own")
class Scale(keras.layers.Layer):
    def call(self, x):
        return x * 2.0


def build(inputs, outputs):
    return keras.Model(inputs, outputs.layer(Scale()(inputs["features"])))
"""

MODELS = """
import json, sys
from pathlib import Path
import keras
from tidegate.models.families.build import build_model
from tidegate.models.data.default_boxes import Grid
from tidegate.models.networks.outputs import Outputs, outputs_for
from tidegate.models.preprocessing.transforms import InputSpec

folder = Path(sys.argv[1])
FEATURES, IMAGE = InputSpec((5,), "float32", "numeric", 0), InputSpec((8, 8, 1), "float32", "image", 0)
REVIEW, STEPS = InputSpec((6,), "int32", "text", 20), InputSpec((5, 2), "float32", "numeric", 0)
SPECS = {"cnn": {"image": IMAGE, "features": FEATURES}, "inception": {"image": IMAGE}, "text": {"review": REVIEW}}
SPECS |= {"transformer": {"review": REVIEW}, "wavenet": {"steps": STEPS}}
PREFIX = InputSpec((7,), "int32", "prefix", 20)
SPECS |= {"char_lm": {"prefix": PREFIX}, "gpt": {"prefix": PREFIX}, "seq2seq": {"review": REVIEW, "prefix": PREFIX}}
SPECS |= {"ssd": {"image": IMAGE}, "unet": {"image": IMAGE}}
head = outputs_for("classification", 3, 1, None)
HEADS = {"ssd": Outputs(1 + 3 + 4, "linear", (Grid(2, ((3.0, 3.0),)),))}
HEADS["tide"] = Outputs(3, "linear", quantiles=3)
HEADS["unet"] = Outputs(3, "softmax", shape=(8, 8))
for family in json.loads(sys.argv[2]):
    given, asked = SPECS.get(family, {"features": FEATURES}), HEADS.get(family, head)
    model = build_model({"family": family}, given, asked, 1, "float32")
    model.save(folder / f"{family}.keras", include_optimizer=False)
own = build_model({"file": str(folder / "my_model.py")}, {"features": FEATURES}, head, 1, "float32")
own.save(folder / "own.keras")
x, t = keras.Input((8,)), keras.Input((5,), dtype="int32")
y = keras.layers.Bidirectional(keras.layers.LSTM(4))(keras.layers.Embedding(10, 4)(t))
z = keras.ops.concatenate([x * 2.0, y[:, ::2], keras.layers.Activation(keras.activations.silu)(x)], axis=-1)
z = keras.layers.Normalization(mean=0.0, variance=1.0)(z)
z = keras.layers.Dense(3, activation=keras.ops.relu, kernel_regularizer="l2")(z)
z = keras.Sequential([keras.layers.Dense(2)])(z)
model = keras.Model([x, t], z)
model.compile(loss=lambda a, b: keras.ops.mean(a - b), optimizer="adam")
model.save(folder / "mixed.keras")
"""
