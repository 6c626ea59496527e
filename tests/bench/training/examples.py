"""The example experiments: what each trains, by our loop and by plain `model.fit`.

Two models that begin alike go through the same rows in the same batches and order, each its own way, in turn; so their
losses can be compared too.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.bench.training import ROOT, asked

ROWS = 2_000
FEWER = {
    "detection": 40,
    "fashion-inception": 512,
    "news-bert": 256,
    "text-generation": 512,
    "translation": 1_280,
}
ROUNDS = 6  # of which the first is left out: it compiles
SECONDS = 0.5  # that a turn takes at least, in whole epochs


def names() -> list[str]:
    """The experiments that are trained on TensorFlow, alphabetically."""
    from tidegate.pipelines.experiment.load import load_experiment

    found = sorted(path.stem for path in (ROOT / "pipelines" / "experiments").glob("*.yaml"))
    return [name for name in found if load_experiment(name).training.backend == "tensorflow"]


def table(chosen: Sequence[str]) -> None:
    """A line for each experiment."""
    print(
        "| experiment | rows, batch | XLA | ours, an epoch | model.fit | fit over ours | CPU | losses differ by |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in chosen or names():
        row = asked("tests.bench.training.examples", "tensorflow", name)
        (own, own_cpu), (fit, fit_cpu) = row["ours"], row["fit"]
        times = f"{own * 1000:.0f} ms | {fit * 1000:.0f} ms | {fit / own:.2f}x | {fit_cpu / own_cpu:.2f}x"
        what = f"{name} | {row['rows']}, {row['batch']} | {'yes' if row['xla'] else 'no'}"
        print(f"| {what} | {times} | {row['difference']:.1e} |", flush=True)


def measure(name: str) -> dict[str, Any]:
    """Seconds and CPU seconds an epoch of both, and the relative difference of their losses of the first epoch."""
    from tidegate.models.loops import LoopSpec, make_loops
    from tidegate.models.loops.tensorflow import xla_pays

    models, data, options, loss, count = prepared(name)
    rows, batch = len(data[1]), options.batch_size
    xla = xla_pays(models[0], -(-count // batch) * options.epochs) if options.xla is None else options.xla
    loop = make_loops(LoopSpec(models[0], data, None, options, loss, 7, xla))[0]
    order = np.arange(rows, dtype=np.int32)

    def ours(epochs: int) -> list[float]:
        told = []
        for _ in range(epochs):
            models[0].reset_metrics()
            for _ in loop.run(order):
                pass
            told.append(float(models[0].get_metrics_result()["loss"]))
        return told

    def fit(epochs: int) -> list[float]:
        x, y, weights = (*data, None)[:3]
        history = models[1].fit(x, y, batch, epochs, sample_weight=weights, shuffle=False, verbose=0)
        losses: list[float] = history.history["loss"]
        return losses

    ways: dict[str, Callable[[int], list[float]]] = {"ours": ours, "fit": fit}
    spent: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    losses: dict[str, list[float]] = {way: [] for way in ways}
    epochs = 1
    for turn in range(ROUNDS):
        for way, run in ways.items():
            began, cpu = time.perf_counter(), time.process_time()
            losses[way] += run(epochs)
            seconds = time.perf_counter() - began, time.process_time() - cpu
            spent[way].append((seconds[0] / epochs, seconds[1] / epochs))
        if turn == 1:  # the first that did not compile
            epochs = max(1, round(SECONDS / spent["fit"][1][0]))
    first = [
        losses[way][: 1 + 1] for way in ways
    ]  # later ones drift: rounding grows as weights go their own way
    difference = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(*first, strict=True))
    medians = {
        way: [statistics.median(column) for column in zip(*found[2:], strict=True)]
        for way, found in spent.items()
    }
    return {"rows": rows, "batch": batch, "xla": xla, "difference": difference, **medians}


def prepared(name: str) -> tuple[list[Any], tuple[Any, ...], Any, Any, int]:
    """Two models, compiled as the experiment says, some rows, the options, the loss and how many rows there are."""
    from tidegate.models.config.class_weights import class_weights
    from tidegate.models.config.losses import encode_target
    from tidegate.models.config.training import Training
    from tidegate.models.data.columns import rows_between
    from tidegate.models.families.build import build_model
    from tidegate.models.networks.determinism import make_deterministic
    from tidegate.models.networks.inputs import inputs_of
    from tidegate.models.preprocessing.prepare import prepare
    from tidegate.models.training.augmentation import augmented
    from tidegate.models.training.compile import compile_model
    from tidegate.models.training.recipe import Recipe
    from tidegate.pipelines.experiment.load import load_experiment

    content = load_experiment(name).model_dump(mode="json")
    given, training = content["data"], dict(content["training"])
    seed = training.pop("seed")
    asked_for = {key: given[key] for key in ("format", "inputs", "target", "split", "sample_rate", "task")}
    found = prepare(dataset=given["dataset"], source=None, tile=given.get("tile"), **asked_for)
    columns, transforms, target = found.splits["train"], found.transforms, found.schema.target
    count = len(next(iter(columns.values())))
    columns = rows_between(columns, 0, FEWER.get(name, ROWS))
    rows = transforms.apply(columns), transforms.target(found.schema, columns)
    tokens = transforms.text_target.spec.vocabulary if transforms.text_target else 0
    grids = transforms.box_target.grids if transforms.box_target else ()
    model_part = {key: value for key, value in content["model"].items() if value is not None}
    recipe = Recipe(model_part, training, target, seed, tokens=tokens, grids=grids)
    options, specs, made = Training.model_validate(training), transforms.input_specs, []
    images = [known for known, spec in specs.items() if spec.kind == "image"]
    for _ in range(2):
        model = build_model(model_part, specs, recipe.head, seed, options.precision)
        make_deterministic(seed)
        if options.augmentation is not None:
            model = augmented(model, images, options.augmentation, seed, grids)
        batches = -(-count // options.batch_size)
        loss = compile_model(model, rows, options, target.task, len(target.classes), batches)
        made.append(model)
    data = inputs_of(made[0], rows[0]), encode_target(loss.target, rows[1], len(target.classes))
    counts = np.bincount(rows[1], minlength=len(target.classes)) if target.task == "classification" else None
    weights = class_weights(options.class_weights, counts, target.classes) if counts is not None else None
    return made, data if weights is None else (*data, weights[rows[1]]), options, loss, count


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
