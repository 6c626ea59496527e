"""The part of the experiment file that says how the winner is served."""

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tidegate.models.decoding.settings import Decoding, DecodingSettings, Detection
from tidegate.pipelines.experiment.part import MEMORY, Duration, Name, Part, as_list
from tidegate.serving.http.rates import RateLimit
from tidegate.serving.http.tokens.settings import Jwt, repeated
from tidegate.serving.recording.settings import Record


class Replicas(Part):
    """How far an endpoint scales on a cluster."""

    min: int = Field(1, ge=1, description="replicas at rest")
    max: int | None = Field(None, ge=1, description="replicas under load; the same as min when not given")

    def problems(self) -> Iterator[str]:
        if self.max is not None and self.max < self.min:
            yield f"max {self.max} is below min {self.min}; it must be at least that"


class Canary(Part):
    """How a new release takes over on a cluster."""

    steps: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        [10, 50, 100], min_length=1, description="percent of traffic at each step"
    )
    bake: Duration = Field("30s", description="time each step is watched")

    def problems(self) -> Iterator[str]:
        if self.steps != sorted(set(self.steps)):
            yield f"steps {self.steps} must rise, e.g. [10, 50, 100]"


class Slo(Part):
    """What the endpoint promises."""

    p99_ms: float = Field(50, gt=0, description="99th percentile of latency, milliseconds")
    error_rate: float = Field(0.001, ge=0, le=1, description="share of requests that may fail")


class ServingResources(Part):
    """What one replica may use on a cluster."""

    cpu: float = Field(1, gt=0, description="cores at most, and threads of one prediction")
    memory: str = Field("1Gi", pattern=MEMORY, description="memory limit")


class Serving(Part):
    """The endpoint of the winner."""

    endpoint: Name | None = Field(None, description="the endpoint's name; the experiment's when not given")
    runtime: Literal["auto", "onnx", "tensorflow"] = Field(
        "auto", description="auto: onnx if its predictions equal the model's, else tensorflow"
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="local port; the first free one when not given"
    )
    processes: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = Field(
        "auto",
        description="server processes that share the port of a replica; auto: on a cluster one a core of "
        "`resources.cpu` where requests are quick, on this machine one",
    )
    replicas: Replicas = Field(Replicas.model_construct(), description="cluster scaling")
    canary: Canary | None = Field(None, description="gradual rollout on a cluster")
    decoding: Decoding | None = Field(
        None, description="how a model that writes texts chooses tokens; greedily when not given"
    )
    detection: Detection | None = Field(
        None,
        description="which boxes a detector returns; those that score at least 0.5 when not given",
    )
    keys: Name | None = Field(
        None,
        description="a secret with the API keys of those who may ask, lines NAME SHA256 of `tidegate keys`: "
        "HOME/secrets/NAME.keys with mode 0600 here, the entry `keys` of a Secret of the namespace on a cluster; "
        "anybody may ask when not given",
    )
    jwt: Annotated[list[Jwt], BeforeValidator(as_list, json_schema_input_type=list[Jwt] | Jwt)] = Field(
        [],
        description="issuers of JSON Web Tokens, one or a list: who has a valid token of one of them may ask too; "
        "with neither `keys` nor `jwt` anybody may",
    )
    rate_limit: RateLimit | None = Field(
        None,
        description="requests that each key, or each `sub` of an issuer, may send to a replica; any number when not "
        "given",
    )
    record: Record | None = Field(
        None,
        description="requests that are kept with their answers, encrypted, on this machine; the next release answers "
        "them before it gets traffic; none when not given",
    )
    keep: int | None = Field(
        None,
        ge=1,
        description="how many releases that served stay, the live one among them; the oldest are forgotten when a new "
        "one goes live, and `tidegate gc --older-than AGE` may then remove their runs; all stay when not given",
    )
    explain: bool = Field(
        False, description="requests with explain: true also get what each input added to its prediction"
    )
    slo: Slo | None = Field(None, description="what the endpoint promises; a canary must keep it")
    resources: ServingResources = Field(
        ServingResources.model_construct(), description="what one replica may use on a cluster"
    )

    def problems(self) -> Iterator[str]:
        if self.decoding is not None and self.detection is not None:
            yield "decoding is for texts and detection for boxes; leave one of the two out"
        if self.rate_limit is not None and not self.guarded:
            yield "rate_limit is for each caller, and nobody says who asks; expected keys or jwt beside it; add one"
        for name in repeated(self.jwt):
            yield f"jwt has the issuer {name!r} twice; expected one entry for each; name both audiences in one"

    @property
    def settings(self) -> DecodingSettings | None:
        """How texts or boxes are chosen."""
        return self.decoding or self.detection

    @property
    def guarded(self) -> bool:
        """Whether only who has a key or a token may ask."""
        return self.keys is not None or bool(self.jwt)

    @property
    def issuers(self) -> str:
        """The issuers as a server takes them, JSON; "" if there are none."""
        return json.dumps([wanted.model_dump() for wanted in self.jwt]) if self.jwt else ""

    @property
    def limit(self) -> str:
        """The limit of each caller as a server takes it, JSON; "" if there is none."""
        return "" if self.rate_limit is None else self.rate_limit.model_dump_json()
