"""What a classifier of single pixels reaches on the same masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.models.data.columns import Columns
from tidegate.models.evaluation.dense_metrics import segmentation_metrics
from tidegate.models.preprocessing.schema import Schema
from tidegate.models.preprocessing.target.encode_target import encode_target

WINDOWS = (3, 5, 9)  # pixels a side
LEARNED = 100_000  # pixels, drawn from all training rows


def pixel_regression(schema: Schema, train: Columns, test: Columns) -> float:
    """The mean IoU of logistic regression on a pixel's colour, and mean and deviation of the pixels around it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (image,) = (field.name for field in schema.inputs)
    known, places = _features(train[image]), encode_target(schema, train).reshape(-1)
    drawn = np.random.RandomState(0).choice(np.flatnonzero(places >= 0), LEARNED, replace=False)
    model: Any = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(known[drawn], places[drawn])
    classes, truth = schema.target.classes, encode_target(schema, test)
    answers = np.zeros((truth.size, len(classes)))
    answers[:, model.classes_] = model.predict_proba(_features(test[image]))
    found = segmentation_metrics(truth, answers.reshape(len(truth), -1), classes)["mean_iou"]
    assert isinstance(found, float)
    return found


def _features(images: NDArray[Any]) -> NDArray[np.float32]:
    """Of each pixel `(n * h * w, k)`."""
    from scipy.ndimage import uniform_filter

    pixels = np.asarray(images, np.float32).reshape(*images.shape[:3], -1) / 255
    parts = [pixels]
    for side in WINDOWS:
        mean = uniform_filter(pixels, (0, side, side, 0))
        square = uniform_filter(pixels * pixels, (0, side, side, 0))
        parts += [mean, np.sqrt(np.maximum(square - mean * mean, 0))]
    found: NDArray[np.float32] = np.concatenate(parts, axis=-1)
    return found.reshape(-1, found.shape[-1])
