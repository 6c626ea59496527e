"""The BentoML service: packaging, process, OpenAPI page and `/predict`, with the data plane in front.

Measured at one row: BentoML's own request path reaches 0.13 of a bare server, a plain ASGI application in
front of it 0.93 and more, because its timeout, tracing and validation are not on that path.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import bentoml
from starlette.responses import Response

from tidegate.serving.dataplane.app import DataPlane
from tidegate.serving.dataplane.bentoml_app import Behind
from tidegate.serving.http.asgi import App
from tidegate.serving.inference.engine import loaded

if TYPE_CHECKING:

    class Service:
        """What is used of BentoML's service, which is published without types."""

        openapi_spec: Any

        def to_asgi(self, is_main: bool = True) -> App:
            """Build the ASGI application that a worker runs."""

else:
    Service = bentoml.Service

api: Callable[[Any], Any] = bentoml.api(route="/predict")


class FrontedService(Service):
    """A service whose ASGI application has the data plane in front, under whatever runs it."""

    def to_asgi(self, is_main: bool = True) -> DataPlane:
        """Build the ASGI application that a worker runs."""
        return DataPlane(Behind(lambda: self.behind(is_main)), loaded)

    def behind(self, is_main: bool = True) -> tuple[App, Callable[[], dict[str, Any]]]:
        """BentoML's own application, and its OpenAPI document."""
        return super().to_asgi(is_main), lambda: dict(self.openapi_spec.asdict())


class Predictions:
    """A Tidegate endpoint: `GET /contract` says what a row is and what a prediction is."""

    def __init__(self) -> None:
        self._answerer = loaded()

    @api
    def predict(self, rows: list[Any]) -> dict[str, Any]:
        """Predict one answer a row, in order; a row is an array (one input) or an object by input name."""
        answer = self._answerer.answer_content({"rows": rows})
        # BentoML sends a response as it is; the annotation is what its OpenAPI page shows.
        return cast("dict[str, Any]", Response(answer.body, answer.status, media_type="application/json"))


Endpoint: Any = bentoml.service(
    name="endpoint",
    service_class=FrontedService,
    workers=1,
    logging={"access": {"enabled": False}},
    metrics={"enabled": False, "namespace": "bentoml_service"},  # the data plane has its own
)(Predictions)
