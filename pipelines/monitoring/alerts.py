"""Prometheus alerts about endpoints, from the metrics that each of their servers has on its page.

Each is about an endpoint as a whole: replicas and releases are added up, and of a state the worst one counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.pipelines.experiment.serving import Slo

GROUP = "tidegate"
WINDOW = "10m"
# Less is nothing that somebody has to be woken for: of two requests one that failed is half.
MIN_FAILED = 5
# Pages for machines answer 503 while a server starts or drains, as they should.
ASKED = 'route!~"/livez|/readyz|/metrics"'
REQUESTS, FAILED, OVERLOADED = "tidegate_requests_total", 'code=~"5.."', 'type="overloaded"'
# Golden rows are answered each hour.
PROOF_AGE_S = 2 * 3600
CERTIFICATE_S = 7 * 86400  # cert-manager renews long before


@dataclass(frozen=True)
class Alert:
    """A rule of Prometheus.

    Attributes:
        name: of the alert.
        expression: in PromQL; what it yields is an endpoint each.
        lasts: for how long it must be so, such as 5m.
        severity: critical: somebody is needed now; warning: on the next day.
        summary: what is so, with the labels and the value of Prometheus' templates.
        action: what to look at.
    """

    name: str
    expression: str
    lasts: str
    severity: str
    summary: str
    action: str

    def rule(self) -> dict[str, Any]:
        """It, as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasts,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.action},
        }


def alert_groups(endpoints: Iterable[str], slos: Mapping[str, Slo], moved: float) -> dict[str, Any]:
    """The document of a rule file: alerts for every endpoint that is scraped, and for the known ones more.

    Args:
        endpoints: known now; that none of its servers is scraped is told.
        slos: by endpoint, what it promises.
        moved: the population stability index from which on data has moved.
    """
    alerts = [*_for_all(moved), *map(_missing, endpoints)]
    for endpoint, slo in slos.items():
        alerts += _promised(endpoint, slo)
    return {"groups": [{"name": GROUP, "rules": [alert.rule() for alert in alerts]}]}


def error_share(chosen: str = "") -> str:
    """The share of requests that the server failed, by endpoint."""
    return f"{_sum('rate', REQUESTS, FAILED, ASKED, chosen)} / {_sum('rate', REQUESTS, ASKED, chosen)}"


def latency(quantile: float, chosen: str = "") -> str:
    """A quantile of the seconds that a prediction took, by endpoint."""
    counts = _sum("rate", "tidegate_request_seconds_bucket", chosen, by="endpoint, le")
    return f"histogram_quantile({quantile:g}, {counts})"


def _sum(function: str, metric: str, *matchers: str, by: str = "endpoint") -> str:
    """How a counter rose in the window, by endpoint, over the series that match all; "" matches any."""
    return f"sum by ({by}) ({function}({metric}{{{','.join(filter(None, matchers))}}}[{WINDOW}]))"


def _enough(chosen: str = "") -> str:
    """As a condition: so many failed that it is no accident of one client."""
    return f"and {_sum('increase', REQUESTS, FAILED, ASKED, chosen)} >= {MIN_FAILED}"


def _for_all(moved: float) -> list[Alert]:
    whose = "endpoint {{ $labels.endpoint }}"
    prove = "`tidegate prove {{ $labels.endpoint }}` asks the golden rows again and says which one is wrong"
    logs = "`tidegate logs {{ $labels.endpoint }}` shows what its servers printed"
    return [
        Alert(
            "TidegateNotReady",
            "max by (endpoint) (tidegate_ready) == 0",
            "5m",
            "critical",
            f"no server of {whose} is ready",
            logs,
        ),
        Alert(
            "TidegateErrors",
            f"{error_share()} > 0.01 {_enough()}",
            "5m",
            "critical",
            f"{whose} fails {{{{ $value | humanizePercentage }}}} of its requests",
            f"{logs}; `tidegate rollback {{{{ $labels.endpoint }}}}` serves the release before",
        ),
        Alert(
            "TidegateOverloaded",
            f"{_sum('increase', 'tidegate_errors_total', OVERLOADED)} >= {MIN_FAILED}",
            "10m",
            "warning",
            f"{whose} turns requests away: it has more than it can answer",
            "raise serving.replicas.max or serving.resources.cpu in its experiment",
        ),
        Alert(
            "TidegateWrongAnswers",
            'sum by (endpoint) (increase(tidegate_proofs_total{result="failed"}[1h])) > 0',
            "0m",
            "critical",
            f"a server of {whose} answered golden rows otherwise than its trained model, and left",
            prove,
        ),
        Alert(
            "TidegateNotProved",
            f"time() - min by (endpoint) (tidegate_proof_timestamp_seconds) > {PROOF_AGE_S}",
            "10m",
            "warning",
            f"a server of {whose} has not answered its golden rows right for {{{{ $value | humanizeDuration }}}}",
            prove,
        ),
        Alert(
            "TidegateDrift",
            f"max by (endpoint, kind, name) (tidegate_drift_psi) >= {moved:g}",
            "1h",
            "warning",
            f"the {{{{ $labels.kind }}}} {{{{ $labels.name }}}} of {whose} has moved from the training rows (PSI "
            "{{ $value | humanize }})",
            "look at what is asked, and train on newer rows",
        ),
        Alert(
            "TidegateCertificateEnds",
            f"min by (endpoint) (tidegate_certificate_end_timestamp_seconds) - time() < {CERTIFICATE_S}",
            "1h",
            "critical",
            f"the certificate of {whose} ends in {{{{ $value | humanizeDuration }}}}, and no newer one is shown",
            f"renew the Secret that `tls` of the target names; {logs}, also why a new one was not taken",
        ),
        Alert(
            "TidegateProcessesRestart",
            "sum by (job, instance) (increase(tidegate_process_restarts_total[1h])) > 0",
            "0m",
            "warning",
            "a server process at {{ $labels.instance }} ended by itself and another took its place",
            "its log says why; a memory limit that is too low is the usual reason",
        ),
    ]


def _missing(endpoint: str) -> Alert:
    return Alert(
        "TidegateMissing",
        f'absent(tidegate_ready{{endpoint="{endpoint}"}})',
        "5m",
        "critical",
        f"no server of endpoint {endpoint} is scraped",
        "`tidegate endpoints` says whether it answers, `tidegate up` starts what a reboot stopped; on a cluster see "
        "whether Prometheus may reach its pods; where it was deleted, write these files again",
    )


def _promised(endpoint: str, slo: Slo) -> list[Alert]:
    chosen, promise = f'endpoint="{endpoint}"', f"serving.slo of endpoint {endpoint}"
    return [
        Alert(
            "TidegateSloErrors",
            f"{error_share(chosen)} > {slo.error_rate:g} {_enough(chosen)}",
            "5m",
            "critical",
            f"{promise} allows {slo.error_rate:.2%} of requests to fail; {{{{ $value | humanizePercentage }}}} do",
            f"`tidegate logs {endpoint}` shows what its servers printed",
        ),
        Alert(
            "TidegateSloLatency",
            f"{latency(0.99, chosen)} > {slo.p99_ms / 1000:g}",
            "10m",
            "warning",
            f"{promise} allows a p99 of {slo.p99_ms:g} ms; it is {{{{ $value | humanizeDuration }}}}",
            "more replicas, more cores for each, or a smaller model",
        ),
    ]
