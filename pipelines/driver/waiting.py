"""Before a release: whether people must approve it, and what they said. No process waits for them."""

import time

from tidegate.pipelines.errors import PipelineError, RefusedError
from tidegate.pipelines.experiment.automation.approval import approval_of
from tidegate.pipelines.experiment.automation.schedule import age_seconds
from tidegate.pipelines.planning.plan import Plan
from tidegate.pipelines.state.approvals import Request, ask
from tidegate.pipelines.state.home import Home


class NotApprovedError(PipelineError):
    """The run waits for people, which its driver makes its status; `request` is what they are asked."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.sentence(time.time()))
        self.request = request


def require_approval(home: Home, plan: Plan, subject: str) -> None:
    """Let a candidate pass that people have approved, or that nobody has to.

    Args:
        home: where it is asked and answered.
        plan: of the run.
        subject: the key of the step that packaged the candidate.

    Raises:
        NotApprovedError: it is asked now, or was before.
        RefusedError: somebody refused it.
    """
    approval, now = approval_of(plan.experiment.gate), time.time()
    if approval is None:
        return
    until = None if approval.by is None else now + age_seconds(approval.by)
    request = ask(
        home.store, Request(run=plan.run, subject=subject, needed=approval.approval, asked=now, until=until)
    )
    verdict = request.verdict(now)
    if verdict == "refused":
        raise RefusedError(request.sentence(now), by_person=True)
    if verdict == "waiting":
        raise NotApprovedError(request)
