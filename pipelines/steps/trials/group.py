"""The processes that train one trial together."""

from tidegate.models.config.quantities import seconds
from tidegate.models.distributed.process_group import Group, current_member, join
from tidegate.models.errors import MemberLostError, OptionsError
from tidegate.pipelines.step_types.train import TrainInputs
from tidegate.pipelines.steps.context import StepContext


def join_group(inputs: TrainInputs, context: StepContext) -> Group | None:
    """The group of this trial's processes, once all have joined; None for a single process."""
    member = current_member()
    if member.size != inputs.nodes:
        raise OptionsError(
            f"resources.nodes is {inputs.nodes} and this process is one of {member.size}; expected an executor that "
            "starts one process per node; use local or a Kubernetes target, or set resources.nodes: 1"
        )
    if member.size == 1:
        return None
    return join(
        member, seconds(inputs.member_timeout), lambda reason: context.report_error(MemberLostError(reason))
    )
