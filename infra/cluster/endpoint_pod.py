"""The pod of an endpoint: an init container fetches and verifies the bundle, then one server runs. Pure functions."""

from typing import Any

from tidegate.infra.cluster.pods import security as restricted

Object = dict[str, Any]
PORT = 3000
CREDENTIALS = "/etc/tidegate/store"
BUNDLE = "/bundle"
KEEP_ALIVE_S = 120  # longer than proxies keep idle connections (60-90 s), so that the proxy closes first
PRE_STOP_S = 8  # a terminating pod serves requests until proxies and nodes have removed it
DRAIN_S = 15
GRACE_S = PRE_STOP_S + DRAIN_S + 5
CPU_REQUEST = 0.25  # share of the limit that is requested: an idle endpoint uses little


def pod_spec(
    *,
    name: str,
    release: int,
    bundle: str,
    image: str,
    fetcher: str,
    cpu: float,
    memory: str,
    processes: str,
    spread: dict[str, str],
    path_prefix: str = "",
) -> Object:
    """The spec of a pod that serves one release.

    Args:
        name: the endpoint's name.
        release: the release's number.
        bundle: digest of the bundle.
        image: the image of its runtime.
        fetcher: the image that fetches the bundle.
        cpu: limit in cores, and threads of one prediction.
        memory: limit and request, a Kubernetes quantity.
        processes: of the server that share its port, or auto.
        spread: labels of the pods that should not share one node.
        path_prefix: which the server takes away from paths; "": none.
    """
    resources = {
        "requests": {"cpu": f"{max(1, round(cpu * CPU_REQUEST * 1000))}m", "memory": memory},
        "limits": {"cpu": f"{round(cpu * 1000)}m", "memory": memory},
    }
    server = _server(name, release, image, resources, processes, path_prefix)
    volumes: list[Object] = [
        {"name": "bundle", "emptyDir": {}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "store", "secret": {"secretName": "tidegate-store"}},
    ]
    return {
        "serviceAccountName": "tidegate-endpoint",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": restricted.POD,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": spread},
            }
        ],
        "initContainers": [bundle_fetcher(bundle, fetcher, resources)],
        "containers": [server],
        "volumes": volumes,
    }


def bundle_fetcher(bundle: str, image: str, resources: Object) -> Object:
    """The init container that lays out a bundle; of an endpoint's pod the only one with the store's credentials."""
    return {
        **_container("bundle", image, resources),
        "command": [
            "python",
            "-P",
            "-m",
            "tidegate.pipelines.state.bundles",
            "fetch",
            bundle,
            f"{BUNDLE}/release",
        ],
        "envFrom": [{"configMapRef": {"name": "tidegate"}}],
        "env": [
            {"name": "AWS_SHARED_CREDENTIALS_FILE", "value": f"{CREDENTIALS}/credentials"},
            *_scratch_variables(),
        ],
        "volumeMounts": [
            {"name": "bundle", "mountPath": BUNDLE},
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "store", "mountPath": CREDENTIALS, "readOnly": True},
        ],
    }


def thread_variables() -> list[Object]:
    """Variables that tell a container that predicts how many CPUs it may use."""
    limit = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}
    return [{"name": name, "valueFrom": limit} for name in ("TIDEGATE_THREADS", "OPENBLAS_NUM_THREADS")]


def _server(
    name: str, release: int, image: str, resources: Object, processes: str, path_prefix: str
) -> Object:
    argv = ["python", "-P", "-m", "tidegate.serving.server", "--bundle", f"{BUNDLE}/release", "--name", name]
    argv += ["--release", str(release), "--host", "0.0.0.0", "--port", str(PORT)]
    argv += ["--path-prefix", path_prefix] if path_prefix else []
    return {
        **_container("server", image, resources),
        # The gateway and the network policy decide who may send requests.
        "command": [*argv, "--allow-anonymous"],
        "env": [
            *thread_variables(),
            # Not an argument, which the image of an earlier release would not know.
            {"name": "TIDEGATE_PROCESSES", "value": processes},
            {"name": "TIDEGATE_KEEP_ALIVE", "value": str(KEEP_ALIVE_S)},
            *_scratch_variables(),
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": _probe("/readyz", period=1, failures=180),
        "readinessProbe": _probe("/readyz", period=2, failures=2),
        "livenessProbe": _probe("/livez", period=10, failures=3),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
        "volumeMounts": [
            {"name": "bundle", "mountPath": BUNDLE, "readOnly": True},
            {"name": "scratch", "mountPath": "/scratch"},
        ],
    }


def _container(name: str, image: str, resources: Object) -> Object:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "workingDir": "/scratch",
        "resources": resources,
        "securityContext": restricted.CONTAINER,
    }


def _scratch_variables() -> list[Object]:
    """Variables that point to the only folder that a container may write to."""
    return [{"name": "HOME", "value": "/scratch"}, {"name": "TMPDIR", "value": "/scratch"}]


def _probe(path: str, *, period: int, failures: int) -> Object:
    probe = {"httpGet": {"path": path, "port": PORT}, "periodSeconds": period}
    return {**probe, "timeoutSeconds": 5, "failureThreshold": failures}
