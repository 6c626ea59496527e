"""The Kubernetes objects of a release, from the experiment's `serving` part. Pure."""

from typing import Any

from tidegate.infra.cluster.endpoint_objects import ReleaseSpec, release_objects, stable_service
from tidegate.infra.cluster.entrances import Gateway, IngressRule, ingress, route
from tidegate.infra.cluster.images import image, tag
from tidegate.infra.cluster.pods.access import AccessSpec
from tidegate.pipelines.experiment.serving import Serving
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.state.targets import Target
from tidegate.serving.deployment.release import EndpointState, Release

UNKNOWN_BUNDLE, UNKNOWN_KEY = "DIGEST-OF-THE-BUNDLE", "tidegate DIGEST-OF-A-KEY"


def spec_of(target: Target, incarnation: int, release: Release, own_key: str = "") -> ReleaseSpec:
    """A release from the store as the specification of its Kubernetes objects.

    Args:
        target: the cluster.
        incarnation: of the endpoint.
        release: one of its releases.
        own_key: the line of the key that verifies it, where it needs keys.
    """
    serving = Serving.model_validate(release.serving)
    return _spec(
        target,
        serving,
        endpoint=release.endpoint,
        number=release.number,
        incarnation=incarnation,
        run=release.run,
        bundle=release.bundle,
        runtime=release.runtime,
        tag=release.tag or tag(),
        tls=release.tls,
        path_prefix=release.path_prefix,
        secrets=release.secrets,
        own_key=own_key,
        signed=bool(release.signed_by),
    )


def endpoint_objects_of(target: Target, plan: Plan, state: EndpointState) -> list[dict[str, Any]]:
    """The objects that deploying and promoting a plan's winner would apply, in this order.

    Args:
        target: the cluster.
        plan: of the run; its bundle, and with `runtime: auto` its runtime, are not known yet.
        state: the endpoint as it is now.
    """
    serving = plan.experiment.serving
    spec = _spec(
        target,
        serving,
        endpoint=plan.experiment.endpoint,
        number=1 + max((release.number for release in state.releases), default=0),
        incarnation=state.incarnation,
        run=plan.run,
        bundle=UNKNOWN_BUNDLE,
        runtime="onnx" if serving.runtime == "auto" else serving.runtime,
        **release_facts(target, plan.experiment.endpoint),
        secrets=tuple(plan.experiment.code.secrets),
        own_key=UNKNOWN_KEY if serving.guarded else "",
    )
    objects = [
        *release_objects(spec, spec.min_replicas, in_flight=False),
        stable_service(spec),
    ]
    entrance = entrance_of(target)
    if isinstance(entrance, Gateway):
        objects.append(route(spec.endpoint, entrance, {spec.name: 100}))
    elif entrance is not None:
        objects.append(ingress(spec.endpoint, entrance))
    return objects


def release_facts(target: Target, endpoint: str) -> dict[str, str]:
    """What a release that is deployed now keeps of its target, by the names in `Release`.

    Its images know the arguments for it; those of an earlier release may not, whatever the target says since.
    """
    return {
        "tag": tag(),
        "tls": "" if target.tls is None else target.tls.secret,
        "path_prefix": "" if target.ingress is None else target.ingress.rule().prefix_of(endpoint),
    }


def entrance_of(target: Target) -> Gateway | IngressRule | None:
    """How requests from outside reach the endpoints of a target; None: they do not."""
    if target.gateway is not None:
        return Gateway(target.gateway.name, target.gateway.namespace)
    return None if target.ingress is None else target.ingress.rule()


def _spec(
    target: Target, serving: Serving, *, runtime: str, tag: str, own_key: str, **known: Any
) -> ReleaseSpec:
    names = [image(target.images, name).rpartition(":")[0] for name in (f"serve-{runtime}", "driver")]
    return ReleaseSpec(
        image=f"{names[0]}:{tag}",
        fetcher=f"{names[1]}:{tag}",
        min_replicas=serving.replicas.min,
        max_replicas=serving.replicas.max or serving.replicas.min,
        cpu=serving.resources.cpu,
        memory=serving.resources.memory,
        processes=str(serving.processes),
        access=AccessSpec(
            keys=serving.keys or "",
            jwt=serving.issuers,
            rate_limit=serving.limit,
            key_sets=tuple(dict.fromkeys(wanted.secret for wanted in serving.jwt if wanted.secret)),
            key_urls=tuple(wanted.jwks for wanted in serving.jwt if not wanted.secret),
            own_key=own_key,
        ),
        policy=target.pod_policy("endpoints"),
        **known,
    )
