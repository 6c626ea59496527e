"""The figure that stands beside an example's: what another method reaches on the same rows, or what was published."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.zoo.baselines import boosting, dtw_accuracy, kneser_ney, markov_loss
from tests.zoo.forecasts import boosted, seasonal_naive
from tests.zoo.outliers import isolation_forest
from tests.zoo.pixels import pixel_regression
from tests.zoo.topics import one_vs_rest
from tests.zoo.windows import sliding_map50
from tidegate.models.config.losses import IGNORED_TOKEN
from tidegate.models.preprocessing.prepare import prepare
from tidegate.pipelines.experiment.spec import Experiment

COMPUTED = (
    "series-rnn",
    "series-wavenet",
    "series-lstm",
    "series-gru",
    "wine",
    "imbalanced",
    "diabetes",
    "regression",
    "wavenet",
    "text-generation",
    "verses",
    "detection",
    "demand",
    "news-topics",
    "anomalies",
    "scenes",
)
PUBLISHED = {
    "gpt": "3.507 a character measured for text-generation, an LSTM",
    "fashion-cnn": "0.925 published for two convolutions",
    "fashion-inception": "0.925 published for two convolutions",
    "fashion-mlp": "0.883 published for dense networks",
    "mnist-mlp": "0.883 published for dense networks",
    "news-bert": "0.97 published for R8",
    "spoken-digits": "0.925 to 0.97 published",
    "translation": "0.055 published (Yao, Zweig, 2015)",
}


def beside(name: str, document: dict[str, Any]) -> str:
    """In a few words; "" where nothing stands beside it."""
    if name in PUBLISHED:
        return PUBLISHED[name]
    if name not in COMPUTED:
        return ""
    data = Experiment.model_validate(document).data
    target = data.target and [
        entry if isinstance(entry, str) else entry.model_dump() for entry in data.target
    ]
    prepared = prepare(
        dataset=data.dataset,
        target=target,
        task=data.task,
        split=data.split.model_dump(),
        tile=data.tile,
        forecast=data.forecast and data.forecast.model_dump(),
        anomaly=data.anomaly and data.anomaly.model_dump(),
    )
    train, test = prepared.splits["train"], prepared.splits["test"]
    if name.startswith("series"):
        return f"1-NN DTW {dtw_accuracy(train, test, 'class'):.3f}"
    if data.forecast is not None:
        forecast = prepared.schema.target
        naive = seasonal_naive(forecast, test, data.forecast.season)
        other = boosted(forecast, train, test, data.forecast.known)
        return f"seasonal naive {naive:.3f}, gradient boosting {other:.3f}"
    if prepared.schema.target.task == "multilabel":
        usual, own = one_vs_rest(prepared.schema.target, train, prepared.splits["validation"], test)
        return f"one-vs-rest logistic regression {usual:.3f}, with thresholds chosen as ours {own:.3f}"
    if prepared.schema.target.task == "segmentation":
        return f"logistic regression of each pixel {pixel_regression(prepared.schema, train, test):.3f}"
    if data.anomaly is not None:
        auc = isolation_forest(prepared.schema.target, prepared.transforms, train, test)
        return f"isolation forest {auc:.3f}"
    boxes = prepared.transforms.box_target
    if boxes is not None:
        learned, truth = boxes.ground_truth(train), boxes.ground_truth(test)
        return f"sliding window {sliding_map50(train['image'], learned, test['image'], truth):.3f}"
    answers = prepared.transforms.text_target
    if answers is not None:
        texts = [
            [row[row != IGNORED_TOKEN].tolist() for row in answers.encode(part)] for part in (train, test)
        ]
        if name == "wavenet":  # the pieces overlap: counted often, they are smoothed less, and it does better
            return f"order-3 Markov model {np.exp(markov_loss(*texts, answers.spec.vocabulary)):.3f}"
        return f"order-4 Kneser-Ney {kneser_ney(*texts, answers.spec.vocabulary):.3f}"
    return f"gradient boosting {boosting(prepared.schema, prepared.transforms, train, test):.3f}"
