"""Endpoints on a real cluster: deploy, verify, promote, roll back, delete, and releases under load.

Bundles are made by hand and deployed by the product's own steps, so that no training is waited for.
"""

import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tidegate.infra.cluster.lease import leased
from tidegate.infra.errors import LockedError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.pipelines.commands.endpoints import lifecycle
from tidegate.pipelines.errors import CanaryError, UsageError
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.hosting import abandon, ensure_live, hosting
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.release import EndpointState, load
from tidegate.serving.errors import ServerStartError

from .conftest import NAMESPACE, Make, wait_for
from .namespace import left_over, make_namespace, remove_namespace
from .open_loop import OpenLoop
from .releases import DEADLY_ROW, RIGHT, ROWS, Releases, labels

pytestmark = pytest.mark.cluster
RATE = 30.0  # requests a second
CANARY: dict[str, Any] = {
    "canary": {"steps": [50, 100], "bake": "3s"},
    "slo": {"p99_ms": 200, "error_rate": 0.001},
}


@pytest.fixture(scope="module")
def quiet(home: Home) -> Home:
    """The same namespace as a target that names no gateway."""
    assert home.target is not None
    return Home(home.path.with_name("quiet"), home.target.model_copy(update={"gateway": None}))


@pytest.mark.slow
def test_a_release_lives_and_leaves_nothing(endpoint: Make, layout: Layout) -> None:
    life = endpoint("life")
    first = life.deploy(replicas={"min": 1, "max": 2})
    assert "horizontalpodautoscaler.autoscaling/life-r1" in left_over(layout, NAMESPACE, "life")
    assert life.verify(first) == RIGHT
    with pytest.raises(urllib.error.HTTPError, match="404"):
        life.ask()  # it is verified, and has no traffic yet
    assert life.promote(first).url == "http://127.0.0.1:8000/life"
    before = life.ask()
    assert (before["release"], labels(before["predictions"])) == (first, RIGHT)

    second = life.release("wrong")
    assert life.ask()["release"] == second
    assert lifecycle.endpoints(life.home).data[0]["live"]
    rolled = lifecycle.rollback(life.home, "life", None).data
    assert (rolled["release"], rolled["url"]) == (first, life.url)
    assert life.ask() == before

    lifecycle.delete_endpoint(life.home, "life")
    assert left_over(layout, NAMESPACE, "life") == []
    again = life.release()
    assert (again, life.ask()["release"]) == (1, 1)
    assert "deployment.apps/life-i1-r1" in left_over(layout, NAMESPACE, "life")


def test_five_releases_and_a_rollback_fail_no_request(endpoint: Make) -> None:
    rolling = endpoint("rolling")
    allowed, served = {rolling.release()}, []
    with OpenLoop(rolling.url, ROWS, RATE) as load_:
        for _ in range(5):
            number = rolling.deploy()
            assert rolling.verify(number) == RIGHT
            served.append((time.time(), set(allowed)))
            allowed.add(number)
            rolling.promote(number)
        served.append((time.time(), set(allowed)))
        lifecycle.rollback(rolling.home, "rolling", None)
        settled = time.time()
        time.sleep(2)
    assert load_.failures == []
    assert load_.releases(settled + 1) == {5}
    assert load_.releases() == allowed == set(range(1, 7))
    for moment, verified in served:
        early = {answer.release for answer in load_.answers if answer.when <= moment}
        assert early <= verified, "a release answered before it was verified"


def test_a_good_canary_is_promoted_with_its_figures(endpoint: Make) -> None:
    good = endpoint("good")
    good.release(**CANARY)
    number = good.deploy(**CANARY)
    with OpenLoop(good.url, ROWS, RATE) as load_:
        outputs = good.promote(number)
    assert load_.failures == []
    assert [stage.weight for stage in outputs.canary] == [50, 100]
    assert all(stage.figures["canary_requests"] >= 100 for stage in outputs.canary)
    assert good.ask()["release"] == number


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("wrong", "the distance of its predictions"),
        # Which of the two depends on the limits of its queue.
        pytest.param("slow", r"its p99 is|requests failed", marks=pytest.mark.slow),
        ("deadly", "crashed: OOMKilled"),
    ],
)
def test_a_bad_canary_is_taken_back_by_itself(endpoint: Make, layout: Layout, kind: str, words: str) -> None:
    bad = endpoint(f"bad-{kind}")
    champion = bad.release(**CANARY)
    number = bad.deploy(kind, **CANARY)
    rows = [*ROWS, DEADLY_ROW] if kind == "deadly" else ROWS
    with OpenLoop(bad.url, rows, RATE) as load_:
        with pytest.raises(CanaryError, match=words):
            bad.promote(number)
        back = time.time()
        time.sleep(1)
    assert load_.releases(back) == {champion}
    state = load(bad.home.store, bad.name)
    assert (state.current, state.release(number).state) == (champion, "failed")
    assert left_over(layout, NAMESPACE, bad.name, f"tidegate.dev/release={number}") == []


@pytest.mark.slow
def test_without_traffic_nothing_is_promoted(endpoint: Make) -> None:
    silent = endpoint("silent")
    champion = silent.release(**CANARY)
    number = silent.deploy(**CANARY)
    with pytest.raises(CanaryError, match="too few requests to judge it: expected 100"):
        silent.promote(number)
    assert silent.ask()["release"] == champion


@pytest.mark.slow
def test_without_a_gateway_replicas_make_the_share(endpoint: Any, quiet: Home, layout: Layout) -> None:
    ratio = endpoint("ratio", quiet)
    assert "1 of 2 replicas (50 % for 50 %), all" in hosting(quiet).describe(Serving.model_validate(CANARY))
    first = ratio.release(**CANARY)
    service = quiet.cluster.get("Service", "ratio")
    assert service is not None
    number = ratio.deploy(**CANARY)
    with OpenLoop(f"http://{service['spec']['clusterIP']}:3000", ROWS, RATE) as load_:
        outputs = ratio.promote(number)
        time.sleep(1)
    assert load_.failures == []
    assert load_.releases() == {first, number}
    assert [stage.weight for stage in outputs.canary] == [50, 100]
    wait_for(
        "the old release gone",
        lambda: not left_over(layout, NAMESPACE, "ratio", f"tidegate.dev/release={first}"),
    )
    assert len(left_over(layout, NAMESPACE, "ratio", f"tidegate.dev/release={number}")) == 5


@pytest.mark.slow
def test_what_a_run_left_without_traffic_is_abandoned(endpoint: Make, layout: Layout) -> None:
    half = endpoint("half")
    number = half.deploy()
    run = load(half.home.store, "half").release(number).run
    abandon(half.home, run, "half")
    assert load(half.home.store, "half").release(number).state == "failed"
    assert left_over(layout, NAMESPACE, "half") == []


@pytest.mark.slow
def test_a_driver_that_died_while_promoting_is_replaced(endpoint: Make, home: Home, layout: Layout) -> None:
    """Whatever was moved already: the next one ends with all of it where the pointer says."""
    half = endpoint("died")
    half.release()
    number = half.deploy()
    home.cluster.delete("HTTPRoute", "died")  # the worst that can be found: no route, the old pods gone
    home.cluster.delete("Deployment", "died-r1")
    half.promote(number)
    assert half.ask()["release"] == number
    assert any("died-r2" in name for name in hosting(home).down())
    assert left_over(layout, NAMESPACE, "died") == []
    assert ensure_live(home, "died") is not None
    assert half.ask()["release"] == number
    assert hosting(home).sweep() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": "localhost/nobody"}, "the image localhost/nobody/driver:"),
        ({"namespace": "tidegate-bare"}, "tidegate-endpoint"),
    ],
)
def test_what_is_missing_is_named(
    home: Home, layout: Layout, tmp_path: Path, change: dict[str, str], words: str
) -> None:
    assert home.target is not None
    target = home.target.model_copy(update=change)
    if target.namespace != NAMESPACE:
        make_namespace(layout, target, tmp_path)
        Home(tmp_path / "bare", target).cluster.delete("ServiceAccount", "tidegate-endpoint")
    lost = Releases(Home(tmp_path / "home", target), "lost", tmp_path)
    try:
        with pytest.raises(ServerStartError, match=words):
            lost.deploy()
    finally:
        hosting(lost.home).remove(load(lost.home.store, "lost"))
        if target.namespace != NAMESPACE:
            remove_namespace(layout, target.namespace)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("3d", "must begin with a letter"),
        ("digits-r1", "are for releases"),
        ("stranger", "a Service of the name"),
    ],
)
def test_a_name_that_can_not_be_had_is_refused_first(home: Home, name: str, words: str) -> None:
    ports = {"ports": [{"port": 80}]}
    foreign = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stranger"}, "spec": ports}
    home.cluster.apply(foreign)
    with pytest.raises(UsageError, match=words):
        hosting(home).check(EndpointState(name=name), Serving.model_validate({}))


def test_one_change_of_an_endpoint_at_a_time(home: Home) -> None:
    with leased(home.cluster, "lock", "run-a", 1):
        with (
            pytest.raises(LockedError, match="lock is held by run-a/"),
            leased(home.cluster, "lock", "run-b", 1),
        ):
            pass
        with leased(home.cluster, "lock", "run-a", 1):  # its earlier driver is dead
            pass
    assert home.cluster.get("Lease", "lock") is None
