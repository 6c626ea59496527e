"""The BentoML service: packaging, process, OpenAPI page and `/predict`, with the data plane in front.

Measured with one row: BentoML's own request path reaches 0.13 of the throughput of a bare server, a plain ASGI
application in front of it 0.93 and more, because BentoML's timeout, tracing and validation are not on that path.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import bentoml
from starlette.responses import Response

from tidegate.serving.dataplane.app import DataPlane
from tidegate.serving.dataplane.bentoml_app import BentoMLApp
from tidegate.serving.http.asgi import App
from tidegate.serving.inference.release_loader import load_engine

if TYPE_CHECKING:

    class Service:
        """The part of BentoML's service that is used here; BentoML is published without types."""

        openapi_spec: Any

        def to_asgi(self, is_main: bool = True) -> App:
            """Build the ASGI application that a worker runs."""

else:
    Service = bentoml.Service

api: Callable[[Any], Any] = bentoml.api(route="/predict")


class FrontedService(Service):
    """A service whose ASGI application has the data plane in front, whichever server runs it."""

    def to_asgi(self, is_main: bool = True) -> DataPlane:
        """Build the ASGI application that a worker runs."""
        return DataPlane(BentoMLApp(lambda: self.bentoml_app(is_main)), load_engine)

    def bentoml_app(self, is_main: bool = True) -> tuple[App, Callable[[], dict[str, Any]]]:
        """BentoML's own application, and its OpenAPI document."""
        return super().to_asgi(is_main), lambda: dict(self.openapi_spec.asdict())


class Predictions:
    """A Tidegate endpoint: `GET /contract` says what a row is and what a prediction is."""

    def __init__(self) -> None:
        self._engine = load_engine()

    @api
    def predict(self, rows: list[Any]) -> dict[str, Any]:
        """Return one prediction per row, in order; a row is an array (one input) or an object by input name."""
        answer = self._engine.answer_content({"rows": rows})
        # BentoML sends a response as it is; the annotation is what its OpenAPI page shows.
        return cast("dict[str, Any]", Response(answer.body, answer.status, media_type="application/json"))


Endpoint: Any = bentoml.service(
    name="endpoint",
    service_class=FrontedService,
    workers=1,
    logging={"access": {"enabled": False}},
    metrics={"enabled": False, "namespace": "bentoml_service"},  # the data plane has its own
)(Predictions)
