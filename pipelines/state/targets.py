"""Targets: `local`, and the clusters of targets.yaml."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tidegate.pipelines.errors import ExperimentError, UnknownNameError, UsageError, nearest

if TYPE_CHECKING:
    from tidegate.infra.cluster.entrances import IngressRule
    from tidegate.infra.cluster.pods.policy import PodPolicy
    from tidegate.pipelines.state.pods import Kind, Pods

NAME = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"  # of an object
PEM = "-----BEGIN CERTIFICATE-----"
CERTIFICATE = re.compile(f"{PEM}.*?-----END CERTIFICATE-----", re.DOTALL)
MOST_AUTHORITIES = 65_536  # a variable of a process holds 128 KiB on Linux
IN_POD = "TIDEGATE_TARGET"  # in a driver's environment: its target, as JSON


class Part(BaseModel):
    """A part of a target: immutable, and an unknown key is an error."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")


class StoreAddress(Part):
    """Where artifacts are kept."""

    url: str = Field(
        pattern=r"^(s3|gs|az)://[^/]+(/.+)?$",
        description="s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX",
    )
    endpoint: str | None = Field(None, description="the server's address; the cloud's own when not given")
    credentials: Literal["secret", "identity"] = Field(
        "secret",
        description="of pods: the Secret tidegate-store, or the role of their service account",
    )

    @model_validator(mode="after")
    def _azure_has_no_file(self) -> "StoreAddress":
        if self.scheme == "az" and self.credentials == "secret":
            raise ValueError(
                "credentials is secret for az://; expected identity, as Azure's library reads no file of keys; set "
                "credentials: identity and give the service accounts an identity"
            )
        return self

    @property
    def scheme(self) -> str:
        """`s3`, `gs` or `az`."""
        return self.url.partition("://")[0]


class Gateway(Part):
    """The Gateway (Gateway API) that requests come in through."""

    name: str = Field(description="the Gateway object's name")
    namespace: str = Field(description="the Gateway object's namespace")
    url: str = Field(description="its address as people use it; an endpoint answers at URL/NAME")


class Ingress(Part):
    """The Ingress of each endpoint, for clusters without a Gateway."""

    class_name: str = Field(
        "",
        alias="class",
        pattern=NAME,
        description="the IngressClass' name; the cluster's default when not given",
    )
    host: str = Field(
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?|\{endpoint\})(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        max_length=200,
        description="of all endpoints, each at HOST/NAME; with {endpoint} as its first part, of each its own",
    )
    port: int | None = Field(None, ge=1, le=65535, description="of its address, where that is not 80 or 443")
    annotations: dict[str, str] = Field({}, description="of the Ingress, for its controller")
    tls_secret: str = Field(
        "",
        pattern=NAME,
        description="a Secret with the host's certificate; without one the address is http://",
    )

    def rule(self) -> "IngressRule":
        """What an endpoint's Ingress says."""
        from tidegate.infra.cluster.entrances import IngressRule  # a plan for this machine does without

        return IngressRule(self.host, self.class_name, self.annotations, self.tls_secret)

    def url(self, endpoint: str) -> str:
        """The address of an endpoint."""
        rule = self.rule()
        port = "" if self.port is None else f":{self.port}"
        return (
            f"http{'s' if self.tls_secret else ''}://{rule.host_of(endpoint)}{port}{rule.prefix_of(endpoint)}"
        )


class Tls(Part):
    """The certificate that an endpoint's servers show, where no gateway and no Ingress ends TLS."""

    secret: str = Field(
        pattern=NAME,
        min_length=1,
        description="a Secret of type kubernetes.io/tls, as of cert-manager, for each endpoint's NAME.NAMESPACE.svc",
    )
    ca: str = Field(
        "",
        description="a file beside targets.yaml with the authorities that may have issued it, in PEM; those of the "
        "system when not given",
    )


class Target(Part):
    """One cluster, as targets.yaml has it under its name."""

    name: str
    context: str | None = Field(None, description="context of the kubeconfig; the current one when not given")
    namespace: str = Field("tidegate", description="where everything runs")
    store: StoreAddress = Field(description="where artifacts are kept, as seen from here")
    mlflow: str = Field(description="MLflow's address, as people open it")
    images: str = Field("tidegate", description="registry and folder of the images")
    gateway: Gateway | None = Field(None, description="without it, traffic is split by numbers of replicas")
    ingress: Ingress | None = Field(None, description="in place of a gateway")
    tls: Tls | None = Field(
        None, description="of the endpoints' servers, without a gateway and without an Ingress"
    )
    pods: dict[str, Any] = Field({}, description="what the company asks of every pod, see `state.pods`")

    @model_validator(mode="after")
    def _one_entrance(self) -> "Target":
        given = [name for name in ("gateway", "ingress", "tls") if getattr(self, name) is not None]
        if given == ["gateway", "ingress"]:
            raise ValueError("received gateway and ingress; expected one of the two; leave one out")
        if len(given) > 1:
            raise ValueError(
                f"received tls and {given[0]}; expected tls only where nothing before the servers ends it; leave tls "
                f"out, and give the {given[0]} the certificate"
            )
        return self

    def as_json(self) -> str:
        """It, as `target_in_pod` reads it."""
        return self.model_dump_json(exclude_defaults=True, by_alias=True)

    def pod_policy(self, kind: "Kind") -> "PodPolicy":
        """What is added to the pods of a kind: "steps", "driver" or "endpoints"."""
        policy = _pods(self.pods).policy(kind)
        return replace(policy, store=self.store.scheme, identity=self.store.credentials == "identity")

    def check_node_selector(self, selector: Mapping[str, str]) -> None:
        """Raise ExperimentError where an experiment's selector contradicts this target's; it may add to it."""
        theirs = self.pod_policy("steps").node_selector
        for key, value in selector.items():
            if theirs.get(key, value) != value:
                raise ExperimentError(
                    f"resources.node_selector: {key} is {value!r}, and target {self.name} has {theirs[key]!r} for its "
                    "pods; expected the same; leave it out, or ask whoever keeps targets.yaml"
                )


def targets_file(home: Path) -> Path:
    """The file of named targets: $TIDEGATE_TARGETS, else targets.yaml in the home."""
    return Path(os.environ.get("TIDEGATE_TARGETS") or home / "targets.yaml")


def find_target(home: Path, name: str) -> Target | None:
    """The target of a name; None is `local`.

    Args:
        home: the home folder, where targets.yaml is looked for.
        name: as given with --target.

    Raises:
        UnknownNameError: no such target.
        UsageError: targets.yaml is wrong.
    """
    if name == "local":
        return None
    path = targets_file(home)
    known = _read(path)
    if name not in known:
        raise UnknownNameError("target", name, ["local", *known], f"add it to {path}, or use --target local")
    try:
        target = _with_authorities(Target.model_validate({"name": name, **known[name]}), path.parent)
        if target.pods:
            _pods(target.pods)
        return target
    except (ValidationError, TypeError) as error:
        raise UsageError(f"{path}: target {name}: {_sentence(error)}") from error


def target_in_pod(document: str = "") -> Target:
    """The target of the pod that this process runs in: a step gets the store only, a driver all of it.

    Args:
        document: the target as JSON; a driver's is in its environment.
    """
    url = os.environ["TIDEGATE_STORE"]
    # Of another cloud's server, its library reads the variables itself.
    endpoint = (os.environ.get("TIDEGATE_S3_ENDPOINT") or None) if url.startswith("s3://") else None
    if document := document or os.environ.get(IN_POD, ""):
        target = Target.model_validate_json(document)
        store = target.store.model_copy(update={"url": url, "endpoint": endpoint})
        return target.model_copy(update={"store": store, "context": None})
    store = StoreAddress(url=url, endpoint=endpoint, credentials="identity")
    return Target.model_validate(
        {"name": "pod", "store": store, "mlflow": os.environ.get("MLFLOW_TRACKING_URI", "")}
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
        raise UsageError(
            f"{path}: expected a name and, below it, context, namespace, store, mlflow and images"
        )
    return found


def _with_authorities(target: Target, folder: Path) -> Target:
    """The target with the content of `tls.ca`: its driver has no such file."""
    if target.tls is None or not target.tls.ca:
        return target
    file = folder / target.tls.ca
    try:
        text = file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"target {target.name}: tls.ca: {file} cannot be read ({error}); expected PEM; correct the path"
        ) from error
    content = "\n".join(CERTIFICATE.findall(text))  # without what stands between them for people
    problem = "a private key" if "PRIVATE KEY" in text else "no certificate" if not content else ""
    if len(content) > MOST_AUTHORITIES:
        problem = f"{len(content):,} characters of certificates, which no pod's variable can hold"
    if problem:
        raise UsageError(
            f"target {target.name}: tls.ca: {file} has {problem}; expected certificates in PEM ({PEM}), at most "
            f"{MOST_AUTHORITIES:,} characters, and nothing else; name the file of the authority that issued yours"
        )
    import ssl  # a plan for this machine does without

    try:
        ssl.create_default_context(cadata=content)
    except ssl.SSLError as error:
        raise UsageError(
            f"target {target.name}: tls.ca: {file} has a certificate that is damaged ({error.reason or error}); "
            "expected PEM as the authority issued it; copy it again"
        ) from error
    return target.model_copy(update={"tls": target.tls.model_copy(update={"ca": content})})


def _pods(document: dict[str, Any]) -> "Pods":
    from tidegate.pipelines.state.pods import Pods  # a plan for this machine does without

    return Pods.model_validate(document)


def _keys(of: str) -> list[str]:
    """The keys of a target, of one of its parts by name, or of its pods."""
    parts: dict[str, type[BaseModel]] = {
        "Target": Target,
        "store": StoreAddress,
        "gateway": Gateway,
        "ingress": Ingress,
        "tls": Tls,
    }
    part = parts.get(of)
    if part is not None:
        return [field.alias or name for name, field in part.model_fields.items()]
    from tidegate.pipelines.state.pods import Pods

    return [*Pods.model_fields]


def _sentence(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(str(part) for part in (*(["pods"] if error.title == "Pods" else []), *first["loc"]))
    if first["type"] == "extra_forbidden":
        known = _keys(str(first["loc"][0]) if len(first["loc"]) > 1 else error.title)
        return f"unknown key {where}{nearest(str(first['loc'][-1]), known)}"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}" if where else str(first["ctx"]["error"])
    return f"{where}: {first['msg']}; received {first['input']!r}"[:300]
