"""What guessing hidden words is worth where labels are few: R8's topics with and without it, of so many labelled texts.

`python -m tests.bench.pretraining [--labels 100 ...] [--seeds 0 1 2] [--epochs 32]` guesses hidden words of all
training texts once, as `news-bert` does, then trains the same network on the first labelled ones from there and from
random weights, in turn, and prints each one's accuracy and cross-entropy on the 2,189 test rows.
"""

from __future__ import annotations

import argparse
import os
from itertools import product
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from tidegate.models.families.build import build_model
from tidegate.models.networks.determinism import make_deterministic
from tidegate.models.networks.outputs import outputs_for
from tidegate.models.preprocessing.prepare import Prepared, prepare
from tidegate.models.preprocessing.target.encode_target import encode_target
from tidegate.models.training.fit import fit
from tidegate.models.training.masked_pretraining import pretrain
from tidegate.pipelines.experiment.load import load_experiment

UPDATES = 160  # of weights at least, however few the labels


def network(prepared: Prepared, options: dict[str, Any], seed: int) -> Any:
    """The example's network with random weights, and the same random numbers in its training."""
    make_deterministic(seed)
    target = prepared.schema.target
    head = outputs_for(target.task, len(target.classes), 1, None)
    return build_model({"family": "transformer", **options}, prepared.transforms.input_specs, head, seed)


def rows(prepared: Prepared, split: str) -> tuple[dict[str, Any], Any]:
    """Model inputs and positions of the topics."""
    columns = prepared.splits[split]
    return prepared.transforms.apply(columns), encode_target(prepared.schema, columns)


def main() -> None:
    """Pretrain once, then print a line a training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=32, help="of guessing")
    args = parser.parse_args()
    experiment = load_experiment("news-bert")
    asked = experiment.data.model_dump()
    prepared = prepare(dataset=asked["dataset"], inputs=asked["inputs"])
    (inputs, topics), others, test = (rows(prepared, name) for name in ("train", "validation", "test"))
    options = {name: value for name, value in experiment.model.options.items() if name != "family"}
    options["pretrain"] = {**options["pretrain"], "epochs": args.epochs}
    taught = network(prepared, options, 7)
    pretrain(taught, {"family": "transformer", **options}, inputs, 7)
    begins = ("pretrained", "random")
    training = experiment.training.model_dump(exclude={"seed"})
    print(
        "| labelled texts | seed | begins with | accuracy | cross-entropy |\n|---|---|---|---|---|",
        flush=True,
    )
    for labels, seed, name in product(args.labels, args.seeds, begins):
        model = network(prepared, options, seed)
        if name == "pretrained":
            fresh = model.get_weights()[-2:]  # of the outputs, which have not learned anything
            model.set_weights([*taught.get_weights()[:-2], *fresh])
        epochs = max(training["epochs"], UPDATES * training["batch_size"] // labels)
        fit(
            model,
            ({column: array[:labels] for column, array in inputs.items()}, topics[:labels]),
            others,
            training | {"epochs": epochs},
            task="classification",
            classes=prepared.schema.target.classes,
            seed=seed,
        )
        chances = np.asarray(model.predict(test[0], batch_size=256, verbose=0))
        right = chances[np.arange(len(chances)), test[1]]
        accuracy = (chances.argmax(axis=1) == test[1]).mean()
        print(f"| {labels} | {seed} | {name} | {accuracy:.4f} | {-np.log(right).mean():.3f} |", flush=True)


if __name__ == "__main__":
    main()
