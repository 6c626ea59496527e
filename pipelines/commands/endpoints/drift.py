"""The drift that a live endpoint reports, for `endpoints` and `show`."""

import http.client
from typing import Any

from tidegate.serving.deployment.connections import Trust, page_of

TIMEOUT_S = 2.0
MOVED, MOVING = 0.25, 0.1  # the usual reading of the index, see `monitoring.drift`
PSI, ROWS, UNSEEN = "tidegate_drift_psi", "tidegate_drift_rows", "tidegate_unseen_values_total"


def drift_of(url: str, trust: Trust | None = None) -> dict[str, Any] | None:
    """The drift of an endpoint, or None where it does not answer or its bundle has no reference.

    Args:
        url: the endpoint's base URL.
        trust: which certificate it shows.

    Returns:
        `{"rows", "needed", "status", "features": {name: index}, "predictions": {name: index}, "unseen": {name: rows}}`;
        status is `unknown` (fewer rows yet than are needed), `stable`, `moving` or `moved`, by the largest index.
    """
    # A dependency of the endpoint: installed wherever one can be live.
    from prometheus_client.parser import text_string_to_metric_families

    from tidegate.serving.monitoring.drift import MIN_ROWS

    try:
        text = page_of(url, "/metrics", TIMEOUT_S, trust)
    except (OSError, http.client.HTTPException):
        return None
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    rows = next((sample.value for sample in samples if sample.name == ROWS), None)
    if rows is None:
        return None
    found: dict[str, dict[str, float]] = {"feature": {}, "prediction": {}}
    for sample in samples:
        if sample.name == PSI:
            found[sample.labels["kind"]][sample.labels["name"]] = round(sample.value, 4)
    unseen = {
        sample.labels["field"]: int(sample.value)
        for sample in samples
        if sample.name == UNSEEN and sample.value
    }
    status = _status([*found["feature"].values(), *found["prediction"].values()])
    return {
        "rows": int(rows),
        "needed": MIN_ROWS,
        "status": status,
        "features": found["feature"],
        "predictions": found["prediction"],
        "unseen": unseen,
    }


def drift_summary(drift: dict[str, Any] | None) -> str:
    """The drift in a few words: the status, and what has moved most; while unknown, how many rows are wanted."""
    if drift is None:
        return ""
    if drift["status"] == "unknown":
        return f"unknown: {drift['rows']} of {drift['needed']} rows"
    largest = max((*drift["features"].items(), *drift["predictions"].items()), key=_second, default=None)
    shown = "" if largest is None or drift["status"] == "stable" else f": {largest[0]} {largest[1]:.2f}"
    return f"{drift['status']}{shown}"


def drift_summary_with_rows(drift: dict[str, Any]) -> str:
    """The same, and over how many rows."""
    said = (
        drift_summary(drift)
        if drift["status"] == "unknown"
        else f"{drift_summary(drift)}, {drift['rows']} rows"
    )
    unseen = ", ".join(f"{field} in {rows}" for field, rows in drift.get("unseen", {}).items())
    return f"{said}; unseen values of {unseen} rows" if unseen else said


def _second(pair: tuple[str, float]) -> float:
    return pair[1]


def _status(values: list[float]) -> str:
    if not values:
        return "unknown"
    return "moved" if max(values) >= MOVED else "moving" if max(values) >= MOVING else "stable"
