"""What a schedule of a cluster keeps of the machine on which it was set."""

from tidegate.infra.cluster.images import tag
from tidegate.pipelines.commands.submit_remote import with_data
from tidegate.pipelines.driver.kept_plan import facts_document
from tidegate.pipelines.errors import ExperimentError
from tidegate.pipelines.experiment.spec import Experiment
from tidegate.pipelines.planning.facts import gather, keep_project_of
from tidegate.pipelines.planning.plan import make_plan
from tidegate.pipelines.planning.tags import with_tags
from tidegate.pipelines.scheduling.document import ClusterPart
from tidegate.pipelines.state.home import Home


def keep_for_cluster(home: Home, experiment: Experiment) -> ClusterPart:
    """Put into the store what runs need of this machine, as `submit` does.

    Args:
        home: the target's, on this machine.
        experiment: with its paths absolute.

    Raises:
        ExperimentError: a trigger waits for files of this machine to change.
    """
    assert home.target is not None
    check_seen(experiment)
    plan = make_plan(experiment, with_tags(gather(experiment, home)))
    keep_project_of(plan, home)
    facts = facts_document(with_data(home, plan))
    return ClusterPart(target=home.target.as_json(), tag=tag(), facts=facts)


def check_seen(experiment: Experiment) -> None:
    """Refuse a trigger that looks at files which no pod can see; raises ExperimentError."""
    own = [path for path in experiment.data.paths.values() if "://" not in path]
    if own and any(trigger.new_data for trigger in experiment.trigger):
        raise ExperimentError(
            f"trigger.new_data: {own[0]} is on this machine, and the cluster's scheduler does not see it change; "
            "expected data in a bucket, such as s3://BUCKET/KEY; put it there, or leave the trigger out"
        )


def kept_text(experiment: Experiment) -> str:
    """What of an experiment stays as it was when it was set, for people."""
    paths = experiment.data.paths.values()
    words = ["the code of this machine as it is now"]
    words += ["a copy of this machine's data"] if any("://" not in path for path in paths) else []
    words += ["the bucket's data as it is when they start"] if any("://" in path for path in paths) else []
    return f"runs have {' and '.join(words)}"
