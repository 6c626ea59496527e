"""A Grafana dashboard of endpoints, as the JSON that Grafana imports."""

from typing import Any

from tidegate.pipelines.monitoring.alerts import ASKED, error_share, latency

SCHEMA_VERSION = 39  # of Grafana 11, which later versions read too
UID = "tidegate-endpoints"
WIDTH, HEIGHT, COLUMNS = 8, 8, 3
SOURCE = {"type": "prometheus", "uid": "${source}"}
CHOSEN = 'endpoint=~"$endpoint"'
RATE = "$__rate_interval"
# Title, unit of Grafana's, and by the legend of a line its expression.
PANELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "Requests by status",
        "reqps",
        {
            "{{endpoint}} {{code}}": "sum by (endpoint, code) "
            f"(rate(tidegate_requests_total{{{CHOSEN},{ASKED}}}[{RATE}]))"
        },
    ),
    ("Failed requests", "percentunit", {"{{endpoint}}": error_share(CHOSEN)}),
    (
        "Seconds until a prediction",
        "s",
        {f"{{{{endpoint}}}} p{quantile * 100:g}": latency(quantile, CHOSEN) for quantile in (0.5, 0.99)},
    ),
    (
        "Predicted rows",
        "rowsps",
        {"{{endpoint}}": f"sum by (endpoint) (rate(tidegate_predicted_rows_total{{{CHOSEN}}}[{RATE}]))"},
    ),
    (
        "Predicted classes",
        "rowsps",
        {
            "{{endpoint}} {{label}}": f"sum by (endpoint, label) (rate(tidegate_predictions_total{{{CHOSEN}}}[{RATE}]))"
        },
    ),
    (
        "Requests without a prediction, by reason",
        "reqps",
        {
            "{{endpoint}} {{type}}": f"sum by (endpoint, type) (rate(tidegate_errors_total{{{CHOSEN}}}[{RATE}]))"
        },
    ),
    (
        "Drift: population stability index",
        "short",
        {"{{endpoint}} {{kind}} {{name}}": f"max by (endpoint, kind, name) (tidegate_drift_psi{{{CHOSEN}}})"},
    ),
    (
        "Rows whose category training did not know",
        "rowsps",
        {
            "{{endpoint}} {{field}}": "sum by (endpoint, field) "
            f"(rate(tidegate_unseen_values_total{{{CHOSEN}}}[{RATE}]))"
        },
    ),
    (
        "Golden rows: difference, as a share of what is allowed",
        "percentunit",
        {"{{endpoint}}": f"max by (endpoint) (tidegate_proof_share{{{CHOSEN}}})"},
    ),
    (
        "Requests in flight, and waiting",
        "short",
        {
            "{{endpoint}} in flight": f"sum by (endpoint) (tidegate_in_flight{{{CHOSEN}}})",
            "{{endpoint}} waiting": f"sum by (endpoint) (tidegate_queued{{{CHOSEN}}})",
        },
    ),
    (
        "Servers that are ready",
        "short",
        {"{{endpoint}} release {{release}}": f"sum by (endpoint, release) (tidegate_ready{{{CHOSEN}}})"},
    ),
    (
        "Memory of a server",
        "bytes",
        {
            "{{endpoint}} {{instance}}": "process_resident_memory_bytes * on (job, instance) "
            f"group_left (endpoint) (tidegate_ready{{{CHOSEN}}} * 0 + 1)"
        },
    ),
)


def dashboard() -> dict[str, Any]:
    """It; which Prometheus, and which endpoints, is chosen on its page."""
    return {
        "uid": UID,
        "title": "Tidegate endpoints",
        "tags": ["tidegate"],
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [_source(), _endpoint()]},
        "panels": [_panel(place, *panel) for place, panel in enumerate(PANELS)],
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _endpoint() -> dict[str, Any]:
    query = "label_values(tidegate_ready, endpoint)"
    return {
        "name": "endpoint",
        "label": "Endpoint",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": "endpoints"},
        "definition": query,
        "refresh": 2,  # whenever the time range changes
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(place: int, title: str, unit: str, lines: dict[str, str]) -> dict[str, Any]:
    row, column = divmod(place, COLUMNS)
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": title,
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"tooltip": {"mode": "multi"}, "legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for number, (legend, expression) in enumerate(lines.items())
        ],
    }
