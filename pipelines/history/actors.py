"""Who is at work: the user of the operating system, or as the cluster's API server knows whoever asks."""

import os
import pwd
import socket

from tidegate.infra.errors import ClusterError
from tidegate.pipelines.state.home import Home
from tidegate.serving.deployment.event import Actor


def actor_of(home: Home) -> Actor:
    """Who runs this process, and where.

    On a cluster the API server says it (SelfSubjectReview): the kubeconfig's user, or a pod's service account. Where it
    does not answer, it is the operating system's user, `through` nobody whom the server knows.
    """
    host = socket.gethostname()
    if home.target is None:
        return Actor(user=_os_user(), host=host)
    try:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        known = home.cluster.create(review)["status"]["userInfo"]["username"]
    except (ClusterError, KeyError):
        return Actor(user=_os_user(), host=host, through="an API server that did not say who asks")
    return Actor(user=str(known), host=host)


def on_behalf(asked: Actor | None, home: Home) -> Actor:
    """Who asked for what this process does, with this process's own account where that is another one.

    Args:
        asked: as the run's record has it; None in a record of an earlier version.
        home: of this process.
    """
    here = actor_of(home)
    if asked is None or asked.user == here.user:
        return here
    return asked.model_copy(update={"through": here.user})


def _os_user() -> str:
    """By the process's user id: $USER can say anything."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # as in a container that runs as any number
        return f"uid {number}"
