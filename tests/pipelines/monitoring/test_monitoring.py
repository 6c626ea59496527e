"""What `tidegate monitoring` writes: every metric and label in it is on an endpoint's page, and Prometheus agrees."""

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.certificates import Authority
from tests.conftest import Cli
from tidegate.infra.testbed.host.errors import PreconditionError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.images import build
from tidegate.pipelines.commands.endpoints.drift import MOVED
from tidegate.pipelines.experiment.serving import Slo
from tidegate.pipelines.monitoring.alerts import MIN_FAILED, PROOF_AGE_S, alert_groups
from tidegate.pipelines.monitoring.dashboard import dashboard
from tidegate.pipelines.monitoring.scraping import operator_objects, scrape_here, scrape_pods
from tidegate.serving.deployment.connections import Trust
from tidegate.serving.monitoring.metrics import Metrics

METRIC = re.compile(r"\b(?:tidegate|process)_[a-z_]+")
LABEL = re.compile(r"([a-z_]+)(?:=~|!~|!=|=)\"")
GROUPED = re.compile(r"\b(?:by|on|group_left) \(([a-z_, ]+)\)")
OF_PROMETHEUS = {"job", "instance", "le"}
# Of several processes only, see tests/serving/monitoring/test_process_group.py.
OF_SEVERAL = {"tidegate_process_restarts_total"}


def expressions() -> list[str]:
    """Every one of the alerts and of the dashboard."""
    slos = {"digits": Slo(p99_ms=40, error_rate=0.002)}
    (group,) = alert_groups(["digits"], slos, MOVED)["groups"]
    lines = [line["expr"] for panel in dashboard()["panels"] for line in panel["targets"]]
    return [rule["expr"] for rule in group["rules"]] + lines


def named(expression: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels in it."""
    grouped = {label for found in GROUPED.findall(expression) for label in found.split(", ")}
    return set(METRIC.findall(expression)), {*LABEL.findall(expression), *grouped}


def on(page: str) -> tuple[set[str], set[str]]:
    """The metrics and the labels on a page; a counter without a value yet is there by its type alone."""
    names, labels = set(), set()
    for family in text_string_to_metric_families(page):
        names |= {family.name, f"{family.name}_total", *(sample.name for sample in family.samples)}
        labels |= {label for sample in family.samples for label in sample.labels}
    return names, labels


def counted() -> str:
    """The page of an endpoint where all that can happen has happened."""
    metrics = Metrics("digits", 1, ["a", "b"])
    metrics.gauges = {
        name: lambda: 1.0 for name in ("ready", "in_flight", "queued", "certificate_end_timestamp_seconds")
    }
    metrics.proof = {"proof_timestamp_seconds": 1.0, "proof_share": 0.1, "proof_rows": 3.0}
    metrics.count("/predict", 200)
    metrics.failed("overloaded")
    metrics.proved("passed")
    metrics.unseen({"city": 1})
    metrics.predicted(np.array([[0.2, 0.8]], np.float32), 0.001, 0.002)
    return metrics.page().decode()


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cli, dict[str, Any]]]:
    """A home, and the answer of a submit in it whose endpoint makes a promise and was asked enough to see drift."""
    cli = Cli(tmp_path_factory.mktemp("watched") / "home")
    quick = ("--set", "training.epochs=1", "--set", "gate=none")
    answer = cli.ok("submit", "wine", *quick, "--set", "serving.slo={p99_ms: 35, error_rate: 0.004}")
    row = json.loads(answer["curl"].rsplit(" -d ", 1)[1].strip("'"))["rows"][0]
    cli.ok("predict", "wine", stdin=json.dumps([row] * 250))
    yield cli, answer
    cli("down")


def test_every_metric_and_label_is_on_an_endpoint_s_page(wine: tuple[Cli, dict[str, Any]]) -> None:
    deadline, page = time.monotonic() + 30, ""
    while "tidegate_drift_psi{" not in page:  # it is counted off the path of requests
        assert time.monotonic() < deadline
        with urllib.request.urlopen(f"{wine[1]['endpoint']}/metrics", timeout=10) as answer:
            page = answer.read().decode()
    names, labels = (live | more for live, more in zip(on(page), on(counted()), strict=True))
    for expression in expressions():
        metrics, chosen = named(expression)
        assert metrics, expression
        assert metrics - OF_SEVERAL <= names, expression
        assert chosen - OF_PROMETHEUS <= labels, expression


def test_the_files_follow_the_endpoints(wine: tuple[Cli, dict[str, Any]], tmp_path: Path) -> None:
    cli, answer = wine
    told = cli.ok("monitoring", str(tmp_path / "watch"))
    assert told["endpoints"] == ["wine"]
    assert sorted(told["files"]) == sorted(path.name for path in (tmp_path / "watch").iterdir())
    (group,) = yaml.safe_load((tmp_path / "watch" / "alerts.yaml").read_text())["groups"]
    alerts = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    assert alerts["TidegateMissing"] == 'absent(tidegate_ready{endpoint="wine"})'
    assert alerts["TidegateSloLatency"].endswith(" > 0.035")
    assert " > 0.004 and " in alerts["TidegateSloErrors"]
    (scraped,) = yaml.safe_load((tmp_path / "watch" / "scrape.yaml").read_text())["scrape_configs"]
    assert [f"http://{target}" for target in scraped["static_configs"][0]["targets"]] == [answer["endpoint"]]
    assert json.loads((tmp_path / "watch" / "dashboard.json").read_text()) == dashboard()


def test_without_an_endpoint_there_are_alerts_for_those_to_come(cli: Cli, tmp_path: Path) -> None:
    told = cli("monitoring", str(tmp_path / "watch"))
    assert "for endpoints to come: there are none yet" in told.stdout
    written = (tmp_path / "watch" / "alerts.yaml").read_text()
    assert ("TidegateErrors" in written, "TidegateSlo" in written) == (True, False)
    (tmp_path / "file").write_text("mine")
    wrong = cli("monitoring", str(tmp_path / "file"))
    assert (wrong.code, "cannot be written" in wrong.stderr) == (2, True)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_operator_finds_the_same() -> None:
    groups = alert_groups([], {}, MOVED)
    pods, rules, board = operator_objects("models", groups, dashboard())
    assert rules["spec"] == groups
    assert {one["metadata"]["namespace"] for one in (pods, rules, board)} == {"models"}
    (found,) = scrape_pods("models")["scrape_configs"]
    selector = found["kubernetes_sd_configs"][0]["selectors"][0]["label"]
    assert dict(one.split("=") for one in selector.split(",")) == pods["spec"]["selector"]["matchLabels"]
    assert json.loads(next(iter(board["data"].values()))) == dashboard()
    (place,) = pods["spec"]["podMetricsEndpoints"]
    assert place["relabelings"] == [
        {"action": "labeldrop", "regex": "endpoint"}
    ]  # or the operator's hides ours


def test_servers_with_a_certificate_are_scraped_by_its_name() -> None:
    trusts = {name: Trust("PEM", f"{name}.models.svc") for name in ("digits", "wine")}
    jobs = scrape_pods("models", trusts)["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["tidegate-digits", "tidegate-wine"]
    for name, job in zip(trusts, jobs, strict=True):
        assert (job["scheme"], job["tls_config"]) == (
            "https",
            {"server_name": f"{name}.models.svc", "ca": "PEM"},
        )
        assert f"tidegate.dev/endpoint={name}" in job["kubernetes_sd_configs"][0]["selectors"][0]["label"]
        assert {"target_label": "job", "replacement": "tidegate"} in job[
            "relabel_configs"
        ]  # as the alerts have it
    *monitors, authority, _, _ = operator_objects("models", alert_groups([], {}, MOVED), dashboard(), trusts)
    assert authority["data"] == {"ca.crt": "PEM"}
    for name, monitor in zip(trusts, monitors, strict=True):
        (place,) = monitor["spec"]["podMetricsEndpoints"]
        known = {"configMap": {"name": authority["metadata"]["name"], "key": "ca.crt"}}
        assert place["tlsConfig"] == {"serverName": f"{name}.models.svc", "ca": known}
        assert monitor["spec"]["selector"]["matchLabels"]["tidegate.dev/endpoint"] == name
    assert scrape_pods("models", {})["scrape_configs"] == []


def test_a_first_failure_is_a_rise() -> None:
    """For Prometheus a series that begins at 1 has not risen."""
    page = Metrics("digits", 1, ["a", "b"]).page().decode()
    for result in ("passed", "failed"):
        assert f'tidegate_proofs_total{{endpoint="digits",release="1",result="{result}"}} 0.0' in page


@cache
def promtool() -> str:
    """Prometheus' own checker; built from its pinned source when it is not in the testbed's cache (minutes)."""
    layout = Layout.default()
    try:
        build.build(layout.cache, next(tool for tool in build.TEST_TOOLS if tool.folder == "promtool"))
    except PreconditionError as error:
        pytest.skip(f"no promtool: {error}")
    return str(build.binary(layout.cache, "promtool"))


def told_by(*words: str | Path) -> str:
    done = subprocess.run([promtool(), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def series(metric: str, values: str, /, **labels: str) -> dict[str, str]:
    chosen = ",".join(f'{key}="{value}"' for key, value in {"endpoint": "digits", **labels}.items())
    return {"series": f"{metric}{{{chosen}}}", "values": values}


# By alert: what is on the pages, minute by minute; when it fires; the labels by which it does, and where it does not.
FIRES: dict[str, tuple[list[dict[str, str]], str]] = {
    "TidegateNotReady": ([series("tidegate_ready", "0x30")], "6m"),
    "TidegateErrors": (
        [
            series("tidegate_requests_total", "0+100x30", route="/predict", code="200"),
            series("tidegate_requests_total", "0+5x30", route="/predict", code="500"),
        ],
        "20m",
    ),
    "TidegateOverloaded": ([series("tidegate_errors_total", "0+9x30", type="overloaded")], "25m"),
    "TidegateWrongAnswers": ([series("tidegate_proofs_total", "0x5 1x20", result="failed")], "8m"),
    "TidegateNotProved": ([series("tidegate_proof_timestamp_seconds", "0x200")], "140m"),
    "TidegateCertificateEnds": ([series("tidegate_certificate_end_timestamp_seconds", "600000x90")], "65m"),
    "TidegateDrift": ([series("tidegate_drift_psi", "0.3x90", kind="feature", name="age")], "65m"),
    "TidegateSloErrors": (
        [
            series("tidegate_requests_total", "0+1000x30", route="/predict", code="200"),
            series("tidegate_requests_total", "0+3x30", route="/predict", code="504"),
        ],
        "20m",
    ),
    "TidegateSloLatency": (
        [
            series("tidegate_request_seconds_bucket", "0+50x30", le="0.025"),
            series("tidegate_request_seconds_bucket", "0+100x30", le="0.1"),
            series("tidegate_request_seconds_bucket", "0+100x30", le="+Inf"),
        ],
        "25m",
    ),
}
QUIET = [
    series("tidegate_ready", "1x200"),
    # Servers that start or drain say 503 where a kubelet asks, and one client's few errors are no outage.
    series("tidegate_requests_total", "0+10x200", route="/readyz", code="503"),
    series("tidegate_requests_total", "0+100x200", route="/predict", code="200"),
    series("tidegate_requests_total", "0x9 3x190", route="/predict", code="500"),
    series("tidegate_errors_total", "0+9x200", type="bad_request"),
    series("tidegate_proofs_total", "1x59 2x59 3x82", result="passed"),
    series("tidegate_proof_timestamp_seconds", "0x59 3600x59 7200x82"),
    series("tidegate_drift_psi", "0.2x200", kind="feature", name="age"),
    series("tidegate_certificate_end_timestamp_seconds", "700000x200"),
    series("tidegate_request_seconds_bucket", "0+100x200", le="0.025"),
    series("tidegate_request_seconds_bucket", "0+100x200", le="+Inf"),
]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A rule file of an endpoint with a promise."""
    slos = {"digits": Slo(p99_ms=40, error_rate=0.002)}
    path = tmp_path / "alerts.yaml"
    path.write_text(yaml.safe_dump(alert_groups(["digits"], slos, MOVED)))
    return path


@pytest.mark.slow  # promtool is built for minutes
def test_prometheus_reads_what_is_written(rules: Path, tmp_path: Path) -> None:
    assert "SUCCESS" in told_by("check", "rules", rules)
    secured = scrape_pods("models", {"wine": Trust(Authority().pem.decode(), "wine.models.svc")})
    for name, document in (
        ("here", scrape_here(["127.0.0.1:3000"])),
        ("pods", scrape_pods("models")),
        ("tls", secured),
    ):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document))
        assert "SUCCESS" in told_by("check", "config", "--syntax-only", path)
    for expression in expressions():
        told_by("promql", "format", expression.replace("$__rate_interval", "5m"), "--experimental")


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_none_when_all_is_well(rules: Path, tmp_path: Path) -> None:
    known = {rule["alert"] for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]}
    assert known == {*FIRES, "TidegateMissing", "TidegateProcessesRestart"}
    assert PROOF_AGE_S < 140 * 60 and MIN_FAILED > 3
    cases = []
    for alert, (pages, when) in FIRES.items():
        ready = [] if alert == "TidegateNotReady" else [series("tidegate_ready", "1x200")]
        case = {"eval_time": when, "alertname": alert}
        cases.append({"interval": "1m", "input_series": [*ready, *pages], "alert_rule_test": [case]})
    restarts = {
        "series": 'tidegate_process_restarts_total{job="tidegate",instance="a:3000"}',
        "values": "0x5 1x60",
    }
    for alert, pages, when in (("TidegateMissing", [], "6m"), ("TidegateProcessesRestart", [restarts], "8m")):
        case = {"eval_time": when, "alertname": alert}
        cases.append({"interval": "1m", "input_series": pages, "alert_rule_test": [case]})
    well = [{"eval_time": f"{minute}m", "alertname": alert} for alert in known for minute in (20, 90, 180)]
    for number, case in enumerate(cases):
        test = tmp_path / f"fires{number}.yaml"
        test.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": [case]}))
        done = subprocess.run(
            [promtool(), "test", "rules", test], capture_output=True, text=True, check=False
        )
        alert = case["alert_rule_test"][0]["alertname"]
        told = done.stdout + done.stderr
        assert done.returncode and f'alertname="{alert}"' in told, (alert, told)
    test = tmp_path / "well.yaml"
    well_case = {"interval": "1m", "input_series": QUIET, "alert_rule_test": well}
    test.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": [well_case]}))
    told_by("test", "rules", test)
