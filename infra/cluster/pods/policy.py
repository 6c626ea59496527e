"""What a company asks of every pod: labels, pull secrets, a proxy, a certificate authority … Pure functions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Object = dict[str, Any]
CA_FOLDER, CA_FILE = "/etc/tidegate/ca", "ca.crt"
TOKEN_S = 3600
SECRET_VOLUME = "store"
# By which variable a store's own library finds its file of credentials.
CREDENTIALS_VARIABLES = {"s3": "AWS_SHARED_CREDENTIALS_FILE", "gs": "GOOGLE_APPLICATION_CREDENTIALS"}
# What reads a certificate authority, each from a variable of its own: Python, requests, boto3, curl.
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Never through a proxy. The kubelet fills in the API server's address.
DIRECT = ("localhost", "127.0.0.1", ".svc", ".cluster.local", "$(KUBERNETES_SERVICE_HOST)")


@dataclass(frozen=True)
class Volume:
    """A volume of every container: `source` of the kind `of`, at `path`; of a token, the source is its audience."""

    name: str
    path: str
    of: Literal["claim", "config_map", "secret", "token"]
    source: str
    read_only: bool = True


@dataclass(frozen=True)
class PodPolicy:
    """What is added to a pod.

    Attributes:
        labels, annotations: of the pod and of what makes it; ours stay.
        image_pull_secrets: names of Secrets.
        node_selector, tolerations: beside those of the experiment.
        env: variables of every container.
        http_proxy, https_proxy: addresses; "" for none.
        no_proxy: hosts that are reached directly, beside the cluster's own.
        ca_config_map, ca_key: a ConfigMap and its key with certificates in PEM; "" for none.
        volumes: of every container.
        shm: the size of /dev/shm, a Kubernetes quantity; "" for the runtime's own.
        runtime_class, service_account: "" for ours.
        store: the scheme of the store's URL.
        identity: whether the service account has a role in the store's cloud; no Secret with credentials is mounted.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    image_pull_secrets: Sequence[str] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: Sequence[str] = ()
    ca_config_map: str = ""
    ca_key: str = CA_FILE
    volumes: Sequence[Volume] = ()
    shm: str = ""
    runtime_class: str = ""
    service_account: str = ""
    store: str = "s3"
    identity: bool = False


def with_policy(owner: Object, policy: PodPolicy) -> Object:
    """A Job or Deployment whose pods follow a policy; the given one is not changed.

    Args:
        owner: with the pod's template in `spec.template`.
        policy: of the target.
    """
    template = owner["spec"]["template"]
    made = {
        "metadata": _metadata(template.get("metadata", {}), policy),
        "spec": _spec(template["spec"], policy),
    }
    return {
        **owner,
        "metadata": _metadata(owner["metadata"], policy),
        "spec": {**owner["spec"], "template": {**template, **made}},
    }


def _metadata(metadata: Object, policy: PodPolicy) -> Object:
    added = {"labels": policy.labels, "annotations": policy.annotations}
    return metadata | {key: {**more, **metadata.get(key, {})} for key, more in added.items() if more}


def _spec(spec: Object, policy: PodPolicy) -> Object:
    spec = _with_identity(spec) if policy.identity else _with_file(spec, policy.store)
    volumes, mounts, variables = _volumes(policy), _mounts(policy), _variables(policy)

    def container(known: Object) -> Object:
        found = dict(known)
        if variables:
            found["env"] = [*known.get("env", ()), *variables]
        if mounts:
            found["volumeMounts"] = [*known.get("volumeMounts", ()), *mounts]
        return found

    made = _each_container(spec, container)
    if volumes:
        made["volumes"] = [*spec.get("volumes", ()), *volumes]
    if policy.image_pull_secrets:
        made["imagePullSecrets"] = [{"name": name} for name in policy.image_pull_secrets]
    if policy.node_selector:
        made["nodeSelector"] = {**spec.get("nodeSelector", {}), **policy.node_selector}
    if policy.tolerations:
        made["tolerations"] = [*spec.get("tolerations", ()), *map(dict, policy.tolerations)]
    if policy.runtime_class:
        made["runtimeClassName"] = policy.runtime_class
    if policy.service_account:
        made["serviceAccountName"] = policy.service_account
    return made


def _with_identity(spec: Object) -> Object:
    """The spec without the Secret of the store's credentials."""

    def container(known: Object) -> Object:
        mounts = [mount for mount in known.get("volumeMounts", ()) if mount["name"] != SECRET_VOLUME]
        variables = [one for one in known.get("env", ()) if one["name"] not in CREDENTIALS_VARIABLES.values()]
        return {**known, "volumeMounts": mounts, "env": variables}

    volumes = [volume for volume in spec.get("volumes", ()) if volume["name"] != SECRET_VOLUME]
    return _each_container(spec, container) | {"volumes": volumes}


def _with_file(spec: Object, store: str) -> Object:
    """The spec with the variable by which the store's own library finds the file of credentials."""

    def container(known: Object) -> Object:
        variables = [
            one | {"name": CREDENTIALS_VARIABLES[store]}
            if one["name"] == CREDENTIALS_VARIABLES["s3"]
            else one
            for one in known.get("env", ())
        ]
        return {**known, "env": variables}

    return spec if store == "s3" else _each_container(spec, container)


def _each_container(spec: Object, change: Callable[[Object], Object]) -> Object:
    kinds = (key for key in ("initContainers", "containers") if key in spec)
    return spec | {key: [change(known) for known in spec[key]] for key in kinds}


def _variables(policy: PodPolicy) -> list[Object]:
    values = dict(policy.env)
    if policy.http_proxy or policy.https_proxy:
        proxies = {"http_proxy": policy.http_proxy, "https_proxy": policy.https_proxy}
        proxies["no_proxy"] = ",".join((*DIRECT, *policy.no_proxy))
        for name, value in proxies.items():
            if value:  # programs read one or the other
                values |= {name: value, name.upper(): value}
    if policy.ca_config_map:
        values |= dict.fromkeys(CA_VARIABLES, f"{CA_FOLDER}/{CA_FILE}")
    return [{"name": name, "value": value} for name, value in values.items()]


def _volumes(policy: PodPolicy) -> list[Object]:
    volumes = [{"name": volume.name, **_source(volume)} for volume in policy.volumes]
    if policy.ca_config_map:
        items = [{"key": policy.ca_key, "path": CA_FILE}]
        volumes.append({"name": "company-ca", "configMap": {"name": policy.ca_config_map, "items": items}})
    if policy.shm:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": policy.shm}})
    return volumes


def _source(volume: Volume) -> Object:
    if volume.of == "claim":
        return {"persistentVolumeClaim": {"claimName": volume.source, "readOnly": volume.read_only}}
    if volume.of == "config_map":
        return {"configMap": {"name": volume.source}}
    if volume.of == "token":  # the kubelet writes a new one before it ends
        token = {"audience": volume.source, "expirationSeconds": TOKEN_S, "path": "token"}
        return {"projected": {"sources": [{"serviceAccountToken": token}]}}
    return {"secret": {"secretName": volume.source}}


def _mounts(policy: PodPolicy) -> list[Object]:
    mounts: list[Object] = [
        {"name": volume.name, "mountPath": volume.path, "readOnly": volume.read_only}
        for volume in policy.volumes
    ]
    if policy.ca_config_map:
        mounts.append({"name": "company-ca", "mountPath": CA_FOLDER, "readOnly": True})
    if policy.shm:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    return mounts
