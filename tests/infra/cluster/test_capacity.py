"""What a cluster offers, read from objects as API servers write them."""

from typing import Any

import pytest

from tidegate.infra.cluster.capacity import amount, gateway_problem, gpus, images_on, quota_lines


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("3", 3),
        ("250m", 0.25),
        ("10k", 10_000),
        ("4Gi", 4 * 1024**3),
        ("512Mi", 512 * 1024**2),
        ("1e3", 1000),
    ],
)
def test_quantities_are_numbers(written: str, number: float) -> None:
    assert amount(written) == number


def test_a_quota_is_full_when_no_pod_fits() -> None:
    hard = {"pods": "10", "requests.cpu": "2", "requests.nvidia.com/gpu": "1", "services": "1"}
    used = {"pods": "3", "requests.cpu": "2000m", "requests.nvidia.com/gpu": "1", "services": "1"}
    lines, full = quota_lines([{"status": {"hard": hard, "used": used}}, {"status": {}}])
    assert lines == ["pods 3/10", "requests.cpu 2000m/2", "requests.nvidia.com/gpu 1/1"]
    assert full == ["requests.cpu 2000m/2"]


def test_gpus_and_images_of_all_nodes_count() -> None:
    nodes: list[dict[str, Any]] = [
        {
            "status": {
                "allocatable": {"cpu": "8", "nvidia.com/gpu": "4"},
                "images": [{"names": ["a:1", "a@sha"]}],
            }
        },
        {"status": {"allocatable": {"nvidia.com/gpu": "4", "amd.com/gpu": "0"}, "images": [{"names": None}]}},
        {"status": {}},
    ]
    assert gpus(nodes) == {"nvidia.com/gpu": 8}
    assert images_on(nodes) == {"a:1", "a@sha"}


@pytest.mark.parametrize(
    ("origin", "namespace", "trouble"),
    [
        ("All", "tidegate", ""),
        ("Same", "tidegate", "no listener accepts routes of namespace tidegate"),
        ("Same", "gateways", ""),
        (None, "tidegate", "no listener accepts routes"),
    ],
)
def test_a_gateway_must_take_our_routes(origin: str | None, namespace: str, trouble: str) -> None:
    allowed = {"allowedRoutes": {"namespaces": {"from": origin}}} if origin else {}
    states = [{"type": kind, "status": "True"} for kind in ("Accepted", "Programmed")]
    gateway = {
        "metadata": {"namespace": "gateways"},
        "spec": {"listeners": [allowed]},
        "status": {"conditions": states},
    }
    found = gateway_problem(gateway, namespace)
    assert found.startswith(trouble)
    assert bool(found) == bool(trouble)
    assert (
        gateway_problem({**gateway, "status": {"conditions": states[:1]}}, namespace)
        == "it is not Programmed"
    )
