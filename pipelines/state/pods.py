"""What targets.yaml says of a cluster's pods, under `pods`."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidegate.infra.cluster.jobs import ENVIRONMENT
from tidegate.infra.cluster.pod_policy import CA_VARIABLES, PodPolicy, Volume

Kind = Literal["steps", "driver", "endpoints"]
OURS = ("tidegate.dev/", "app.kubernetes.io/managed-by", "app.kubernetes.io/component")
TAKEN = ("/scratch", "/bundle", "/etc/tidegate", "/dev/shm")  # where our own volumes are
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
Address = Annotated[str, Field(pattern=r"^https?://[^\s/]+/?$")]
Path = Annotated[str, Field(pattern=r"^/[^\s]+$")]


class Strict(BaseModel):
    """Immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Proxy(Strict):
    """The proxy through which pods reach what is outside of the cluster."""

    http: Address | None = Field(None, description="for http://")
    https: Address | None = Field(None, description="for https://")
    no: list[str] = Field(
        [], description="hosts and domains that are reached directly, beside the cluster's own"
    )


class CaBundle(Strict):
    """Certificates of the company's own authority, which S3, MLflow and other servers show."""

    config_map: str = Field(min_length=1, description="a ConfigMap of the namespace")
    key: str = Field(
        "ca.crt", min_length=1, description="its key that holds them, in PEM; all that are trusted"
    )


class Mount(Strict):
    """A volume in every container."""

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$", description="of the volume")
    path: Path = Field(description="where it is mounted")
    claim: str | None = Field(None, description="a PersistentVolumeClaim of the namespace")
    config_map: str | None = Field(None, description="a ConfigMap")
    secret: str | None = Field(None, description="a Secret")
    read_only: bool = Field(True, description="a claim may be written to where this is false")

    @model_validator(mode="after")
    def _one_source(self) -> "Mount":
        given = [key for key in ("claim", "config_map", "secret") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(
                f"received {' and '.join(given) or 'no source'}; expected one of claim, config_map and secret; name one"
            )
        if not self.read_only and given != ["claim"]:
            raise ValueError(f"read_only is false for a {given[0]}; expected a claim; leave it out")
        if any(self.path == taken or self.path.startswith(f"{taken}/") for taken in TAKEN):
            raise ValueError(f"path {self.path} is ours; expected none of {', '.join(TAKEN)}; choose another")
        return self


class PodPart(Strict):
    """What is added to pods."""

    labels: dict[str, str] = Field({}, description="of the pods and of what makes them")
    annotations: dict[str, str] = Field({}, description="the same")
    image_pull_secrets: list[str] = Field([], description="Secrets of the registry")
    node_selector: dict[str, str] = Field({}, description="beside the experiment's")
    tolerations: list[dict[str, Any]] = Field([], description="beside the experiment's")
    env: dict[str, str] = Field({}, description="variables of every container")
    proxy: Proxy | None = Field(None, description="for what is outside of the cluster")
    ca_bundle: CaBundle | None = Field(None, description="the company's certificates")
    volumes: list[Mount] = Field([], description="of every container")
    shm: Annotated[str, Field(pattern=r"^[0-9]+(Ki|Mi|Gi)$")] | None = Field(
        None,
        description="size of /dev/shm, counted in the pod's memory; PyTorch's workers need more than 64Mi",
    )
    runtime_class: str | None = Field(None, description="such as nvidia, gvisor")
    service_account: str | None = Field(None, description="in place of ours; the driver's needs its role")

    @model_validator(mode="after")
    def _not_ours(self) -> "PodPart":
        problems = [
            *(f"{name} is ours" for name in (*self.labels, *self.annotations) if name.startswith(OURS)),
            *(
                f"env.{name} is ours"
                for name in self.env
                if name in ENVIRONMENT or name.startswith("TIDEGATE_")
            ),
            *self._elsewhere(),
        ]
        if problems:
            raise ValueError(f"{'; '.join(problems)}; expected another name; leave it out")
        names = [volume.name for volume in self.volumes]
        if len(set(names)) < len(names):
            raise ValueError(
                f"two volumes have one name, of {', '.join(names)}; expected each to have its own"
            )
        return self

    def _elsewhere(self) -> Iterator[str]:
        for name in self.env:
            if name.lower() in PROXIES and self.proxy is not None:
                yield f"env.{name} is what proxy sets"
            if name in CA_VARIABLES and self.ca_bundle is not None:
                yield f"env.{name} is what ca_bundle sets"


class Pods(PodPart):
    """What is added to every pod, and what to those of one kind."""

    steps: PodPart = Field(PodPart.model_validate({}), description="the same keys, for steps alone")
    driver: PodPart = Field(PodPart.model_validate({}), description="the same keys, for a run's driver alone")
    endpoints: PodPart = Field(PodPart.model_validate({}), description="the same keys, for endpoints alone")

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
            tolerations=(*self.tolerations, *own.tolerations),
            env={**self.env, **own.env},
            http_proxy=proxy.http or "",
            https_proxy=proxy.https or "",
            no_proxy=tuple(proxy.no),
            ca_config_map=ca.config_map if ca else "",
            ca_key=ca.key if ca else "ca.crt",
            volumes=tuple(
                map(_volume, {volume.name: volume for volume in (*self.volumes, *own.volumes)}.values())
            ),
            shm=own.shm or self.shm or "",
            runtime_class=own.runtime_class or self.runtime_class or "",
            service_account=own.service_account or self.service_account or "",
        )


def _volume(mount: Mount) -> Volume:
    if mount.claim:
        return Volume(mount.name, mount.path, "claim", mount.claim, mount.read_only)
    if mount.config_map:
        return Volume(mount.name, mount.path, "config_map", mount.config_map)
    return Volume(mount.name, mount.path, "secret", mount.secret or "")
