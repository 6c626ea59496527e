"""What targets.yaml says of a cluster's pods, under `pods`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidegate.infra.cluster.jobs import ENVIRONMENT
from tidegate.infra.cluster.pods.policy import CA_VARIABLES, PodPolicy, Volume

Kind = Literal["steps", "driver", "endpoints"]
OURS = (
    "tidegate.dev/",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/component",
    "job-name",
    "batch.kubernetes.io/",
    "controller-uid",
)
OUR_VARIABLES = {*ENVIRONMENT, "MLFLOW_TRACKING_URI", "OPENBLAS_NUM_THREADS"}
OUR_VOLUMES = {"scratch", "store", "bundle", "shm", "company-ca", "signing", "trusted", "tls", "keys", "jwks"}
# Where our own volumes are, and the system's.
TAKEN = ("/scratch", "/bundle", "/etc", "/dev", "/proc", "/sys", "/var/run", "/run", "/opt/venv")
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
Address = Annotated[str, Field(pattern=r"^https?://[^\s/]+/?$")]
# What Kubernetes takes, so that a mistake is told before a pod is made.
Path = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*)+$", max_length=200)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
LabelKey = Annotated[
    str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]


class Strict(BaseModel):
    """Immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Proxy(Strict):
    """The proxy through which pods reach what is outside of the cluster."""

    http_proxy: Address | None = Field(None, description="for http://")
    https_proxy: Address | None = Field(None, description="for https://")
    no_proxy: list[str] = Field([], description="hosts that are reached directly, beside the cluster's own")


class CaBundle(Strict):
    """Certificates of the company's own authority, which S3, MLflow and other servers show."""

    config_map: ObjectName = Field(description="a ConfigMap of the namespace")
    key: str = Field(
        "ca.crt",
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$",
        description="its key: all that are trusted, in PEM",
    )


class Toleration(Strict):
    """As in Kubernetes, with its names."""

    key: LabelKey | None = Field(None, description="of the taint; every one when not given")
    operator: Literal["Exists", "Equal"] = Field("Equal", description="whether the value counts")
    value: LabelValue | None = Field(None, description="of the taint")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="of the taint"
    )
    tolerationSeconds: int | None = Field(None, ge=0, description="how long, for NoExecute")

    @model_validator(mode="after")
    def _whole(self) -> "Toleration":
        if self.key is None and self.operator != "Exists":
            raise ValueError(
                "a toleration without a key; expected operator: Exists, which tolerates all; add it"
            )
        if self.operator == "Exists" and self.value:
            raise ValueError("a toleration with operator Exists and a value; expected no value; leave it out")
        return self


class Mount(Strict):
    """A volume in every container."""

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$", description="of the volume")
    path: Path = Field(description="where it is mounted")
    claim: ObjectName | None = Field(None, description="a PersistentVolumeClaim of the namespace")
    config_map: ObjectName | None = Field(None, description="a ConfigMap")
    secret: ObjectName | None = Field(None, description="a Secret")
    token: Annotated[str, Field(pattern=r"^\S+$")] | None = Field(
        None, description="the file `token`: one of the service account's, for this audience"
    )
    read_only: bool = Field(True, description="a claim may be written to where this is false")

    @model_validator(mode="after")
    def _one_source(self) -> "Mount":
        given = [key for key in ("claim", "config_map", "secret", "token") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(
                f"received {' and '.join(given) or 'no source'}; expected one of claim, config_map, secret and token; "
                "name one"
            )
        if not self.read_only and given != ["claim"]:
            raise ValueError(f"read_only is false for a {given[0]}; expected a claim; leave it out")
        if self.name in OUR_VOLUMES:
            raise ValueError(f"name {self.name} is ours; expected none of {', '.join(sorted(OUR_VOLUMES))}")
        if any(self.path == taken or self.path.startswith(f"{taken}/") for taken in TAKEN):
            raise ValueError(f"path {self.path} is ours; expected none of {', '.join(TAKEN)}; choose another")
        return self


def _check_volumes(volumes: list[Mount]) -> None:
    for what in ("name", "path"):
        found = [getattr(volume, what) for volume in volumes]
        twice = [value for place, value in enumerate(found) if value in found[:place]]
        if twice:
            raise ValueError(
                f"two volumes have the {what} {twice[0]}; expected each to have its own; change one"
            )


class PodPart(Strict):
    """What is added to pods."""

    labels: dict[LabelKey, LabelValue] = Field({}, description="of the pods and of what makes them")
    annotations: dict[LabelKey, str] = Field({}, description="the same")
    image_pull_secrets: list[ObjectName] = Field([], description="Secrets of the registry")
    node_selector: dict[LabelKey, LabelValue] = Field({}, description="beside the experiment's")
    tolerations: list[Toleration] = Field([], description="beside the experiment's")
    env: dict[VariableName, str] = Field({}, description="variables of every container")
    proxy: Proxy | None = Field(None, description="for what is outside of the cluster")
    ca_bundle: CaBundle | None = Field(None, description="the company's certificates")
    volumes: list[Mount] = Field([], description="of every container")
    shm: Annotated[str, Field(pattern=r"^[1-9][0-9]*(Ki|Mi|Gi)$")] | None = Field(
        None,
        description="size of /dev/shm, counted in the pod's memory; PyTorch's workers need more than 64Mi",
    )
    runtime_class: ObjectName | None = Field(None, description="such as nvidia, gvisor")
    service_account: ObjectName | None = Field(
        None, description="in place of ours; the driver's needs its role"
    )

    @model_validator(mode="after")
    def _not_ours(self) -> "PodPart":
        problems = [
            *(f"{name} is ours" for name in (*self.labels, *self.annotations) if name.startswith(OURS)),
            *(
                f"env.{name} is ours"
                for name in self.env
                if name in OUR_VARIABLES or name.startswith("TIDEGATE_")
            ),
        ]
        if problems:
            raise ValueError(f"{'; '.join(problems)}; expected another name; leave it out")
        return self


class Pods(PodPart):
    """What is added to every pod, and what to those of one kind."""

    steps: PodPart = Field(PodPart.model_validate({}), description="the same keys, for steps alone")
    driver: PodPart = Field(PodPart.model_validate({}), description="the same keys, for a run's driver alone")
    endpoints: PodPart = Field(PodPart.model_validate({}), description="the same keys, for endpoints alone")

    @model_validator(mode="after")
    def _together(self) -> "Pods":
        """What holds in each part must hold in both."""
        for kind in ("steps", "driver", "endpoints"):
            own: PodPart = getattr(self, kind)
            _check_volumes([*self.volumes, *own.volumes])
            env = {**self.env, **own.env}
            for setter, names in (("proxy", PROXIES), ("ca_bundle", CA_VARIABLES)):
                twice = [name for name in env if name in names or name.lower() in names]
                if twice and (getattr(self, setter) or getattr(own, setter)):
                    raise ValueError(
                        f"{kind}: env.{twice[0]} is what {setter} sets; expected one of the two; leave one out"
                    )
        return self

    def policy(self, kind: Kind) -> PodPolicy:
        """What is added to the pods of a kind: maps and lists of both parts, and of single values the kind's own."""
        own: PodPart = getattr(self, kind)
        proxy = own.proxy or self.proxy or Proxy.model_validate({})
        ca = own.ca_bundle or self.ca_bundle
        return PodPolicy(
            labels={**self.labels, **own.labels},
            annotations={**self.annotations, **own.annotations},
            image_pull_secrets=tuple(dict.fromkeys((*self.image_pull_secrets, *own.image_pull_secrets))),
            node_selector={**self.node_selector, **own.node_selector},
            tolerations=tuple(
                known.model_dump(exclude_none=True, exclude_unset=True)
                for known in (*self.tolerations, *own.tolerations)
            ),
            env={**self.env, **own.env},
            http_proxy=proxy.http_proxy or "",
            https_proxy=proxy.https_proxy or "",
            no_proxy=tuple(proxy.no_proxy),
            ca_config_map=ca.config_map if ca else "",
            ca_key=ca.key if ca else "ca.crt",
            volumes=tuple(map(_volume, (*self.volumes, *own.volumes))),
            shm=own.shm or self.shm or "",
            runtime_class=own.runtime_class or self.runtime_class or "",
            service_account=own.service_account or self.service_account or "",
        )


def _volume(mount: Mount) -> Volume:
    if mount.claim:
        return Volume(mount.name, mount.path, "claim", mount.claim, mount.read_only)
    if mount.config_map:
        return Volume(mount.name, mount.path, "config_map", mount.config_map)
    if mount.token:
        return Volume(mount.name, mount.path, "token", mount.token)
    return Volume(mount.name, mount.path, "secret", mount.secret or "")
