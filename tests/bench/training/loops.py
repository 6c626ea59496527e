"""What is driven in turn: our loop, Keras' own, and one written by hand in PyTorch; an epoch a call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}


class Ours:
    """Our loop, an epoch a call."""

    def __init__(self, model: Any, x: np.ndarray, y: np.ndarray, batch: int, epochs: int) -> None:
        from tidegate.models.config.training import Training
        from tidegate.models.loops import LoopSpec, make_loops
        from tidegate.models.loops.tensorflow import xla_pays
        from tidegate.models.training.compile import compile_model

        backend = os.environ["KERAS_BACKEND"]
        options = Training.model_validate(
            {"batch_size": batch, "optimizer": SGD, "backend": backend, "epochs": epochs}
        )
        batches = -(-len(x) // batch)
        loss = compile_model(model, ({"x": x}, y), options, "classification", 10, batches)
        self.xla = backend == "jax" or (backend == "tensorflow" and xla_pays(model, batches * epochs))
        parts = LoopSpec(model, ({"x": x}, y.astype(np.int32)), None, options, loss, 7, self.xla)
        self.model, self.loop = model, make_loops(parts)[0]
        self.random = np.random.default_rng(7)

    def epoch(self) -> float:
        began = time.perf_counter()
        self.model.reset_metrics()
        for _ in self.loop.run(self.random.permutation(self.loop.rows).astype(np.int32)):
            pass
        assert np.isfinite(float(self.model.get_metrics_result()["loss"]))
        return time.perf_counter() - began


class Plain:
    """`model.fit`, an epoch a call, as a user would write it."""

    def __init__(self, model: Any, x: np.ndarray, y: np.ndarray, batch: int) -> None:
        import keras

        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        self.model, self.x, self.y, self.batch = model, x, y, batch
        self.ends: list[float] = []
        self.note = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda *_: self.ends.append(-time.perf_counter()),
            on_epoch_end=lambda *_: self.ends.append(time.perf_counter()),
        )

    def epoch(self) -> float:
        self.ends.clear()
        self.model.fit(
            {"x": self.x}, self.y, batch_size=self.batch, epochs=1, verbose=0, callbacks=[self.note]
        )
        return sum(self.ends)


def by_hand(model: Any, x: np.ndarray, y: np.ndarray, batch: int) -> Callable[[], float]:
    """An epoch of the same network as a person writes it in PyTorch."""
    import torch
    from torch import nn

    class Last(nn.Module):
        def forward(self, found: Any) -> Any:
            return found[0][:, -1]

    class Swapped(nn.Module):
        def forward(self, image: Any) -> Any:
            return image.permute(0, 3, 1, 2)

    def module(layer: Any) -> list[Any]:
        kind, shape = type(layer).__name__, layer.input.shape
        if kind == "Dense":
            act = [nn.ReLU()] if layer.activation.__name__ == "relu" else []
            return [nn.Linear(shape[-1], layer.units), *act]
        if kind == "LSTM":
            return [nn.LSTM(shape[-1], layer.units, batch_first=True), Last()]
        if kind == "Conv2D":
            return [nn.Conv2d(shape[-1], layer.filters, layer.kernel_size, padding="same")]
        others = {"Dropout": lambda: nn.Dropout(layer.rate), "Flatten": nn.Flatten, "Activation": nn.ReLU}
        others["MaxPooling2D"] = lambda: nn.MaxPool2d(2)
        return [others[kind]()]

    swapped = [Swapped()] if x.ndim == 4 else []
    network = nn.Sequential(*swapped, *(part for layer in model.layers[1:] for part in module(layer)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    told, rows, classes = nn.CrossEntropyLoss(), torch.from_numpy(x), torch.from_numpy(y)

    def timed() -> float:
        began = time.perf_counter()
        total, right = torch.zeros(()), torch.zeros(())
        for chosen in torch.randperm(len(rows)).split(batch):
            answer, wanted = network(rows[chosen]), classes[chosen]
            loss = told(answer, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(chosen)
            right += (answer.argmax(1) == wanted).sum()
        assert np.isfinite(float(total)) and float(right) <= len(rows)
        return time.perf_counter() - began

    return timed
