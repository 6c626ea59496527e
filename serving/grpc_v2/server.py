"""The gRPC server: it runs in the HTTP server's event loop, with the same limits, keys and metrics."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import grpc

from tidegate.serving.dataplane.dispatcher import Dispatcher
from tidegate.serving.dialects.v2 import SERVER, V2
from tidegate.serving.errors import RejectedError, ServerError
from tidegate.serving.grpc_v2.dialect import LABEL, GrpcV2
from tidegate.serving.grpc_v2.messages import CLASSES, SERVICE
from tidegate.serving.http.asgi import Headers
from tidegate.serving.http.caller import Caller

if TYPE_CHECKING:
    from tidegate.serving.http.tls import Certificate, Pem

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
NO_KEY = ("ServerLive", "ServerReady")


class GrpcServer:
    """Serves `tritonclient.grpc` and every other client of the protocol.

    Args:
        dispatcher: answers the requests.
        v2: the HTTP dialect, whose metadata is the same.
        is_ready: whether the release takes requests.
    """

    def __init__(self, dispatcher: Dispatcher, v2: V2, is_ready: Any) -> None:
        self._dispatcher, self._v2, self._is_ready = dispatcher, v2, is_ready
        self._dialect = GrpcV2(dispatcher.engine.served)
        self._server: Any = None

    async def start(self, host: str, port: int) -> None:
        """Listen; raises ServerError."""
        size = [("grpc.max_receive_message_length", self._dispatcher.settings.limits.max_body_bytes)]
        self._server = grpc.aio.server(options=size)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, self._handlers()),)
        )
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        certificate = self._dispatcher.settings.certificate
        try:
            if certificate is None:
                self._server.add_insecure_port(address)
            else:
                self._server.add_secure_port(address, _credentials(certificate))
        except RuntimeError as error:
            raise ServerError(
                f"gRPC cannot listen on {address}; expected a free port; choose another with --grpc-port"
            ) from error
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Accept no more requests, finish the running ones within `grace` seconds."""
        await self._server.stop(grace)

    def _handlers(self) -> dict[str, Any]:
        names = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata")
        handlers = {name: self._page(name) for name in names}
        handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self._infer)
        return handlers

    def _page(self, name: str) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            if name not in NO_KEY:
                await self._check_access(context, _headers(context))
            await self._check_model(request, context)
            return CLASSES[f"{name}Response"](**self._content(name))

        return grpc.unary_unary_rpc_method_handler(
            answer, CLASSES[f"{name}Request"].FromString, lambda message: message.SerializeToString()
        )

    def _content(self, name: str) -> dict[str, Any]:
        if name == "ServerMetadata":
            return SERVER
        if name == "ModelMetadata":
            return self._v2.metadata()
        return {"live": True} if name == "ServerLive" else {"ready": self._is_ready()}

    async def _check_access(self, context: Any, headers: Headers) -> Caller | None:
        """Who asks; None where anybody may."""
        access, caller = self._dispatcher.settings.access, None
        if access is None:
            return None
        try:
            await access.settle(headers)
            caller = access.identify(headers)
            context.set_trailing_metadata(_metadata(access.admit(caller)))
        except RejectedError as error:
            self._dispatcher.record_rejection(LABEL, error, self._dispatcher.access_log.headers({}), caller)
            await context.abort(CODES[error.status], str(error), _metadata(error.headers))
        return caller

    async def _check_model(self, request: Any, context: Any) -> None:
        served = self._dispatcher.engine.served
        name, version = getattr(request, "name", served.name), getattr(request, "version", "")
        if name != served.name or version not in ("", served.version):
            await context.abort(
                CODES[404], f"there is no model {name!r} of that version; expected {served.name!r}"
            )

    async def _infer(self, body: bytes, context: Any) -> bytes:
        began, dispatcher = time.perf_counter(), self._dispatcher
        headers = _headers(context)
        caller = await self._check_access(context, headers)
        pairs = dispatcher.access_log.headers(headers)
        try:
            dispatcher.admission.enter(dispatcher.admission.in_flight, len(body))
            size = 0
            try:
                dispatcher.admission.add_bytes(len(body))
                size = len(body)
                answer = await dispatcher.answer(self._dialect, body, headers)
            finally:
                dispatcher.admission.leave(size)
        except RejectedError as error:
            dispatcher.record_rejection(LABEL, error, pairs, caller)
            await context.abort(CODES[error.status], str(error))
            raise
        dispatcher.record_response(self._dialect, answer, pairs, began, caller)
        if answer.status != 200:
            await context.abort(CODES[answer.status], answer.body.decode())
        return answer.body


def _credentials(certificate: "Certificate") -> Any:
    """Of a server whose next handshake shows the newest certificate."""
    shown = certificate.newest()

    def renewed() -> Any:
        """None: the one that is shown is the newest, and gRPC makes nothing anew for a handshake."""
        nonlocal shown
        pem = certificate.newest()
        if pem == shown:
            return None
        shown = pem
        return _configuration(pem)

    return grpc.dynamic_ssl_server_credentials(_configuration(shown), renewed, False)


def _configuration(pem: "Pem") -> Any:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)])


def _headers(context: Any) -> dict[bytes, bytes]:
    pairs = context.invocation_metadata() or ()
    return {key.encode(): value if isinstance(value, bytes) else value.encode() for key, value in pairs}


def _metadata(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Headers of an answer as gRPC's metadata."""
    return tuple((name.decode(), value.decode()) for name, value in headers)
