"""Who is told how a run ended."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tidegate.pipelines.experiment.part import Name, Part, as_list

Channel = Literal["webhook", "slack", "teams", "email"]
Event = Literal[
    "released", "refused", "failed", "cancelled", "rolled_back", "waiting", "drift", "schedule_missed"
]


class Notification(Part):
    """One channel, and what is told there."""

    to: Channel = Field(description="the channel")
    on: Annotated[list[Event], BeforeValidator(as_list, json_schema_input_type=list[Event] | Event)] = Field(
        ["released", "refused", "failed"],
        min_length=1,
        description="what is told: how a run ended, that it waits for an approval, that an endpoint was rolled back or "
        "its requests have drifted, or that a schedule's moment passed without a run",
    )
    secret: Name = Field(
        description="a secret with the channel's variables: HOME/secrets/NAME.env with mode 0600 here, a Secret of the "
        "namespace on a cluster. URL; of a webhook SIGNING_SECRET too; of email SMTP_HOST, SMTP_PORT, SMTP_USER, "
        "SMTP_PASSWORD, FROM and TO",
    )
