"""What logistic regression on weighted words reaches for sets of labels, one classifier a label."""

from __future__ import annotations

from tidegate.models.data.columns import Columns
from tidegate.models.evaluation.label_metrics import label_metrics
from tidegate.models.preprocessing.schema import Target
from tidegate.models.preprocessing.target.label_matrix import label_matrix
from tidegate.models.training.label_thresholds import choose_thresholds


def one_vs_rest(
    target: Target, train: Columns, validation: Columns, test: Columns, text: str = "text"
) -> tuple[float, float]:
    """Micro-F1 of scikit-learn's OneVsRestClassifier(LogisticRegression()) on TfidfVectorizer(), both as they come.

    Returns:
        With 0.5 for all labels, and with thresholds that are chosen on the validation rows as ours are.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    words = TfidfVectorizer(sublinear_tf=True)
    model = OneVsRestClassifier(LogisticRegression(max_iter=1000))
    model.fit(words.fit_transform(train[text]), label_matrix(target, train))
    held, asked = (model.predict_proba(words.transform(part[text])) for part in (validation, test))
    chosen = choose_thresholds(label_matrix(target, validation), held)
    truth = label_matrix(target, test)
    usual, own = (label_metrics(truth, asked, limits)["f1_micro"] for limits in (None, chosen))
    return float(usual), float(own)
