"""What the driver may and may not do, asked of a real API server with the driver's own token."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.infra.testbed.host.errors import TestbedError
from tidegate.infra.testbed.host.layout import Layout
from tidegate.infra.testbed.install import NAMESPACE
from tidegate.infra.testbed.running import kubectl

from .identities import Identity, account, person

pytestmark = pytest.mark.cluster
WORK = Path(__file__).with_name("work.yaml")
HERE = ("-n", NAMESPACE)
KINDS = (
    "jobs,deployments,services,horizontalpodautoscalers,poddisruptionbudgets,networkpolicies,"
    "httproutes.gateway.networking.k8s.io,ingresses,leases"
)
MINE = ("-l", "tidegate.dev/test=rbac")

REFUSED = {
    "read a Secret": (*HERE, "get", "secret", "tidegate-store"),
    "list Secrets": (*HERE, "get", "secrets"),
    "run a command in a pod": (*HERE, "exec", "mlflow-db-0", "--", "true"),
    "forward a pod's port": (*HERE, "port-forward", "mlflow-db-0", "0:5432"),
    "make a pod": (*HERE, "run", "mine", "--image=none"),
    "delete a pod": (*HERE, "delete", "pod", "mlflow-db-0"),
    "read settings": (*HERE, "get", "configmap", "tidegate"),
    "read roles": (*HERE, "get", "roles"),
    "give itself a role": (*HERE, "create", "rolebinding", "more", "--role=tidegate-look", "--user=me"),
    "change its role": (*HERE, "patch", "role", "tidegate-driver", "-p", '{"rules": []}'),
    "ask for another's token": (*HERE, "create", "token", "mlflow"),
    "touch the database": (*HERE, "delete", "statefulset", "mlflow-db"),
    "raise its quota": (*HERE, "delete", "resourcequota", "tidegate"),
    "see pods of another namespace": ("-n", "testbed", "get", "pods"),
    "read a Secret of another namespace": ("-n", "testbed", "get", "secret", "s3"),
    "make Jobs elsewhere": ("-n", "default", "create", "job", "mine", "--image=none"),
    "see nodes": ("get", "nodes"),
    "see all namespaces": ("get", "namespaces"),
}


@pytest.fixture(scope="module")
def driver(installed: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identity]:
    yield account(installed, tmp_path_factory.mktemp("driver"), NAMESPACE, "tidegate-driver")
    kubectl(installed, *HERE, "delete", KINDS, *MINE, "--ignore-not-found")


def test_the_driver_does_what_runs_and_releases_need(driver: Identity) -> None:
    apply = (*HERE, "apply", "--server-side", "--field-manager=tidegate", "-f", "-")
    assert driver.kubectl(*apply, stdin=WORK.read_text()).count("serverside-applied") == 9
    changed = WORK.read_text().replace("maxReplicas: 1", "maxReplicas: 2")
    assert driver.kubectl(*apply, stdin=changed).count("serverside-applied") == 9
    assert len(driver.kubectl(*HERE, "get", KINDS, *MINE, "-o", "name").split()) == 9
    assert driver.kubectl(*HERE, "delete", KINDS, *MINE).count("deleted") == 9


def test_the_driver_sees_pods_their_logs_and_events(driver: Identity) -> None:
    assert "mlflow-db-0" in driver.kubectl(*HERE, "get", "pods")
    assert driver.kubectl(*HERE, "logs", "mlflow-db-0", "--tail=1")
    driver.kubectl(*HERE, "get", "events")


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED)
def test_the_driver_may_not(driver: Identity, words: tuple[str, ...]) -> None:
    with pytest.raises(TestbedError, match=r"[Ff]orbidden"):
        driver.kubectl(*words)


@pytest.mark.parametrize("name", ["tidegate-step", "tidegate-endpoint", "mlflow"])
def test_the_other_accounts_may_nothing(installed: Layout, tmp_path: Path, name: str) -> None:
    """Their pods get no token; a token made by hand is good for nothing."""
    mounted = ("get", "serviceaccount", name, "-o", "jsonpath={.automountServiceAccountToken}")
    assert kubectl(installed, *HERE, *mounted) == "false"
    other = account(installed, tmp_path, NAMESPACE, name)
    for words in (("get", "pods"), ("get", "jobs"), ("get", "secrets"), ("get", "configmaps")):
        with pytest.raises(TestbedError, match=r"[Ff]orbidden"):
            other.kubectl(*HERE, *words)


def test_a_person_of_the_group_may_submit_and_look_but_not_read_secrets(
    installed: Layout, tmp_path: Path
) -> None:
    ada = person(installed, tmp_path, "ada", "tidegate-users")
    for verb, what in (
        ("create", "jobs"),
        ("get", "pods/log"),
        ("get", "resourcequotas"),
        ("delete", "deployments"),
    ):
        assert ada.kubectl(*HERE, "auth", "can-i", verb, what).strip() == "yes"
    for words in (
        ("get", "secrets"),
        ("exec", "mlflow-db-0", "--", "true"),
        ("get", "configmap", "kube-root-ca.crt"),
    ):
        with pytest.raises(TestbedError, match=r"[Ff]orbidden"):
            ada.kubectl(*HERE, *words)
    with pytest.raises(TestbedError, match=r"[Ff]orbidden"):
        person(installed, tmp_path, "eve").kubectl(*HERE, "get", "pods")


def test_a_pod_that_is_not_restricted_is_refused(installed: Layout) -> None:
    words = ("run", "root", "--image=none", "--dry-run=server")
    with pytest.raises(TestbedError, match='violates PodSecurity "restricted:latest"'):
        kubectl(installed, *HERE, *words)
