"""On a cluster a Job sends what schedules tell: it has the secret of the channel, and the scheduler has none."""

import time
from contextlib import suppress
from datetime import datetime

from tidegate.infra.cluster.jobs import is_finished
from tidegate.infra.errors import AlreadyExistsError
from tidegate.pipelines.driver.notifications import waiting_secrets
from tidegate.pipelines.executors.manifests import teller_of
from tidegate.pipelines.state.home import Home

AGAIN_S = 600.0  # after a Job whose message was not taken


def send_by_jobs(home: Home) -> None:
    """Start a Job for each secret with which something waits to be sent, unless there is one.

    Args:
        home: of a schedule of the cluster.

    Raises:
        ClusterError, StoreError: the cluster or its store cannot be reached; ask again.
    """
    assert home.target is not None
    for secret in waiting_secrets(home.store):
        job = teller_of(home.target, secret)
        name = job["metadata"]["name"]
        found = home.cluster.get("Job", name)
        if found is not None and is_finished(found):
            made = datetime.fromisoformat(found["metadata"]["creationTimestamp"]).timestamp()
            if time.time() - made > AGAIN_S:
                home.cluster.delete("Job", name, uid=found["metadata"]["uid"])  # the next call starts it anew
        elif found is None:
            with suppress(AlreadyExistsError):
                home.cluster.create(job)
