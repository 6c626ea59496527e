"""Models that train by themselves: by Keras' own loop, with the very step, loss and optimizer that they have."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.training.test_checkpoint import Files, state
from tidegate.models.errors import ModelsError, StoppedError
from tidegate.models.families.build import build_model
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.networks.predict import predict
from tidegate.models.networks.user_models.own_training import own_training
from tidegate.models.preprocessing.transforms import InputSpec
from tidegate.models.training.fit import History, fit
from tidegate.models.user_code.project import use_project

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
NUMBERS = (X[:, :1] * 2).astype(np.float32)
CLASSES = (X[:, 0] > 0).astype(np.int64)
SPECS = {"x": InputSpec((4,), "float32", "numeric", 0)}
COMPILED = """
import keras
from keras import ops

def seven(y_true, y_pred):
    return ops.mean(ops.square(y_pred - 7.0), axis=-1) + 0.0 * ops.mean(y_true)

def build(inputs, outputs):
    model = keras.Model(inputs, outputs.layer(inputs["x"]))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=seven, metrics=["mape"])
    return model
"""
STEPS = """
import keras
import tensorflow as tf

CALLED = set()

def seen(name):
    CALLED.add(name)

class Mine(keras.Model):
    def __init__(self, units=1, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.out = keras.layers.Dense(units)
        self.drop = keras.layers.Dropout(0.3)
        self.steps = keras.metrics.Sum(name="steps")
    def get_config(self):
        return {**super().get_config(), "units": self.units}
    def call(self, x, training=False):
        if training:
            seen("call(training)")
        self.add_loss(0.001 * tf.reduce_sum(tf.square(self.out.kernel) if self.out.built else 0.0))
        return self.out(self.drop(x, training=training))
    def train_step(self, data):
        seen("train_step")
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
        self.steps.update_state(1.0)
        self.compute_metrics(x, y, self(x), None)
        return {"loss": loss, **self.get_metrics_result()}
    def test_step(self, data):
        seen("test_step")
        return {"loss": super().test_step(data)["loss"], "own": 3.0}
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        seen("compute_loss")
        return super().compute_loss(x, y, y_pred, sample_weight)
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        seen("compute_metrics")
        return super().compute_metrics(x, y, y_pred, sample_weight)
    def reset_metrics(self):
        seen("reset_metrics")
        super().reset_metrics()
    def get_metrics_result(self):
        seen("get_metrics_result")
        return super().get_metrics_result()
    @property
    def metrics(self):
        seen("metrics")
        return super().metrics
    def make_train_function(self, force=False):
        seen("make_train_function")
        return super().make_train_function(force)
    def make_test_function(self, force=False):
        seen("make_test_function")
        return super().make_test_function(force)
    def compile(self, *args, **kwargs):
        seen("compile")
        super().compile(*args, **kwargs)

def build(inputs, outputs, compiled=True):
    model = Mine(outputs.units)
    if compiled:
        model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    return model
"""
STILL = """
import keras

class Mine(keras.Model):
    def __init__(self, units=1, **kwargs):
        super().__init__(**kwargs)
        self.units, self.out = units, keras.layers.Dense(units)
    def get_config(self):
        return {**super().get_config(), "units": self.units}
    def call(self, x):
        return self.out(x)
    def train_step(self, data):
        x, y = data
        return {"loss": self.compute_loss(y=y, y_pred=self(x, training=True))}

def build(inputs, outputs):
    return Mine(outputs.units)
"""
CALLBACKS = """
import keras

class Mean(keras.callbacks.Callback):
    def __init__(self, start=0):
        super().__init__()
        self.start, self.sum, self.count, self.order = start, None, 0, []
    def on_train_batch_end(self, batch, logs=None):
        self.order.append(batch)
        weights = self.model.get_weights()
        self.sum = weights if self.sum is None else [a + b for a, b in zip(self.sum, weights)]
        self.count += 1
    def on_train_end(self, logs=None):
        assert self.order == list(range(4)) * 3, self.order
        self.model.set_weights([one / self.count for one in self.sum])

class Broken(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 2:
            raise RuntimeError("no more")

class Enough(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Iterator[Path]:
    for name, code in {"compiled": COMPILED, "steps": STEPS, "still": STILL, "mine": CALLBACKS}.items():
        (tmp_path / f"{name}.py").write_text(code)
    use_project([tmp_path])
    yield tmp_path
    use_project([])
    for name in ("compiled", "steps", "still", "mine"):
        sys.modules.pop(name, None)


def trained(
    model: dict[str, Any], keeper: Files | None = None, told: Any = None, limits: Any = None, **training: Any
) -> tuple[Any, History]:
    built = build_model(model, SPECS, outputs_for("regression", 0, 1), 1)
    rows = ({"x": X}, NUMBERS)
    wanted = {"epochs": 3, "batch_size": 16, "checkpoint": {"every": 1}, **training}
    history = fit(
        built,
        rows,
        rows,
        wanted,
        task="regression",
        classes=(),
        seed=5,
        checkpoints=keeper,
        on_loop=told,
        medians=limits,
    )
    return built, history


def test_what_build_compiled_is_used() -> None:
    """The model learns to answer seven, as it asks for; on the same rows plain Keras learns the same."""
    told: list[str] = []
    model, history = trained({"function": "compiled:build"}, told=told.append, epochs=20)
    assert history.loop == "keras"
    assert predict(model, {"x": X}).mean() == pytest.approx(7, abs=0.2)
    assert {"loss", "mape", "val_loss", "val_mape"} <= set(history.epochs[0])
    assert told == [
        "trained by Keras' own fit (loop: keras), because build compiled it with optimizer SGD and loss seven. A "
        "killed training resumes at the batch"
    ]


def test_a_step_that_applies_no_gradients_learns_nothing() -> None:
    model, history = trained({"function": "still:build"})
    before = build_model({"function": "still:build"}, SPECS, outputs_for("regression", 0, 1), 1)
    assert history.loop == "keras"
    assert state(model) == state(before)


def test_every_hook_of_fit_is_called() -> None:
    from tidegate.models.networks.user_models.own_training import BY_FIT

    _, history = trained({"function": "steps:build"})
    called = sys.modules["steps"].CALLED
    assert set(BY_FIT) - called == {"stateless_compute_loss", "metrics_variables", "metrics_names"}
    assert history.epochs[0]["steps"] == 4 and history.epochs[0]["val_own"] == 3


@pytest.mark.parametrize("model", ["steps:build", "compiled:build"])
def test_stopped_at_any_batch_it_ends_with_the_same_bits(model: str, tmp_path: Path) -> None:
    training = {"callbacks": ["mine:Mean"]}
    expected, course = trained({"function": model}, **training)
    for _ in range(2):
        with pytest.raises(StoppedError, match="the state is saved"):
            trained({"function": model}, Files(tmp_path, most=5), **training)
    keeper = Files(tmp_path)
    found, history = trained({"function": model}, keeper, **training)
    assert keeper.reasons == [] and history.resumed is not None
    assert state(found) == state(expected)
    assert history.epochs == course.epochs


def test_stopped_at_a_rung_it_is_so_too_when_it_was_killed_before(tmp_path: Path) -> None:
    limits, model = [None, 0.0], {"function": "compiled:build"}
    expected, course = trained(model, limits=limits, epochs=5)
    assert (course.stopped, len(course.epochs)) == ("pruned", 2)
    with pytest.raises(StoppedError, match="the state is saved"):
        trained(model, Files(tmp_path, most=5), limits=limits, epochs=5)
    found, history = trained(model, Files(tmp_path), limits=limits, epochs=5)
    assert history.resumed is not None and (history.stopped, history.epochs) == ("pruned", course.epochs)
    assert state(found) == state(expected)


def test_every_public_name_of_a_model_is_honoured_refused_or_without_effect() -> None:
    """A name that a later Keras adds fails here, and is then looked at."""
    import keras

    from tidegate.models.networks.user_models.own_training import HOOKS

    known = {name for name in dir(keras.Model) if not name.startswith("_")}
    assert known - set(HOOKS) == set()
    assert set(HOOKS.values()) == {"fit", "layers", "refused", "without effect"}


def test_a_callback_stops_the_training() -> None:
    _, history = trained({"family": "linear"}, callbacks=["mine:Enough"])
    assert (history.loop, history.stopped, len(history.epochs)) == ("keras", "early", 1)


def test_the_loss_of_compile_says_what_the_outputs_are(tmp_path: Path) -> None:
    """Two classes by one logit, as Keras' guides write it: the endpoint answers a probability."""
    code = (
        "import keras\ndef build(inputs, outputs):\n    model = keras.Sequential([keras.layers.Dense(1)])\n"
    )
    code += (
        "    model.compile('adam', keras.losses.BinaryCrossentropy(from_logits=True), metrics=['accuracy'])\n"
    )
    code += "    return model\n"
    (tmp_path / "binary.py").write_text(code)
    model = build_model({"file": str(tmp_path / "binary.py")}, SPECS, outputs_for("classification", 2, 0), 1)
    own = own_training(model)
    assert own is not None and own.outputs is not None
    assert (own.target, own.outputs.activation, own.outputs.units) == ("probability", "sigmoid", 1)
    rows = ({"x": X}, CLASSES)
    training = {"epochs": 15, "batch_size": 8}
    history = fit(model, rows, rows, training, task="classification", classes=("a", "b"), seed=1)
    answers = predict(model, {"x": X})
    assert answers.min() > 0 and answers.max() < 1
    assert history.epochs[-1]["val_loss"] < history.epochs[0]["val_loss"]


@pytest.mark.parametrize(
    ("model", "training", "said"),
    [
        ("compiled:build", {"optimizer": "sgd"}, "training.optimizer is stated; expected one of the two"),
        ("compiled:build", {"loss": "mae", "metrics": ["mae"]}, "training.loss, training.metrics are stated"),
        ("still:build", {"regularization": {"l2": 0.1}}, "nothing would add to its loss"),
        ("still:build", {"privacy": {}}, "option training.privacy trains by other steps"),
        ("still:build", {"early_stopping": {"monitor": "val_auc"}}, "'val_auc', which is not computed"),
        (
            "still:build",
            {"callbacks": ["mine:Broken"]},
            "mine.py:20: Keras' fit raised RuntimeError in epoch 1, batch 3 of 4: no more",
        ),
        ("still:build", {"callbacks": ["mine:Men"]}, "mine has no 'Men'; did you mean Mean?"),
        (
            "still:build",
            {"callbacks": [{"name": "mine:Mean", "begin": 3}]},
            "unexpected keyword argument 'begin'",
        ),
        ("still:build", {"callbacks": ["EarlyStopping"]}, "callback 'EarlyStopping' is no reference"),
        ("steps:build", {}, "has its own compile.. with arguments of its own; expected build to call it"),
    ],
)
def test_what_cannot_be_honoured_is_refused(model: str, training: dict[str, Any], said: str) -> None:
    options = {"compiled": False} if model == "steps:build" else {}
    with pytest.raises(ModelsError, match=said):
        trained({"function": model, **options}, **training)
