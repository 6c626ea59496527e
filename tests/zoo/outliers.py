"""What an isolation forest reaches on the same rows."""

from __future__ import annotations

from tidegate.models.data.columns import Columns
from tidegate.models.evaluation.anomaly_metrics import anomaly_metrics
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.anomalies import known_anomalies
from tidegate.models.preprocessing.transforms import Transforms


def isolation_forest(target: Target, transforms: Transforms, train: Columns, test: Columns) -> float:
    """The area under the ROC curve of scikit-learn's IsolationForest as it comes (Liu, Ting, Zhou, 2008)."""
    from sklearn.ensemble import IsolationForest

    (known,), (asked,) = transforms.apply(train).values(), transforms.apply(test).values()
    model = IsolationForest(random_state=0).fit(known.reshape(len(known), -1))
    scores = -model.score_samples(asked.reshape(len(asked), -1))
    found = anomaly_metrics(target, known_anomalies(target, test), scores[:, None])["auc"]
    assert isinstance(found, float)
    return found
