"""A release served by several processes: what is made before they are forked, and what each of them makes."""

import gc
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.serving.dataplane.app import DataPlane
from tidegate.serving.errors import ServingError
from tidegate.serving.http.access_log import log_as_json
from tidegate.serving.inference.release_loader import load_engine, served_bundle
from tidegate.serving.monitoring.process_group import ProcessGroup
from tidegate.serving.runtimes import THREADS, available_cpus
from tidegate.serving.runtimes.onnx import NO_TELEMETRY, library
from tidegate.serving.server.process_count import choose
from tidegate.serving.server.supervisor import Supervisor
from tidegate.serving.server.supervisor_control import SupervisorControl
from tidegate.serving.server.worker import Link, WorkerServer, run_worker


@dataclass(frozen=True)
class Several:
    """The processes of one server.

    Attributes:
        most: processes.
        auto: whether fewer may do, see `process_count`.
        plane: the service's ASGI application; each process has its copy.
        times: seconds in which a request must be complete, and of the delay at SIGTERM.
        grpc_at: host and port of the gRPC server; None for none. Each process has its own socket there, and the kernel
            spreads connections over them.
        control: path of the control socket; None for none.
        about: what `status` returns.
    """

    most: int
    auto: bool
    plane: DataPlane
    times: tuple[float, float]
    grpc_at: tuple[str, int] | None
    control: Path | None
    about: dict[str, Any]

    def run(self, private: socket.socket, public: socket.socket | None) -> int:
        """Serve until a signal or `drain`; return the exit code."""
        log_as_json(os.memfd_create("tidegate-log-lock"))
        group = ProcessGroup(self.most)
        chosen = choose if self.auto else None
        supervisor = Supervisor(group, self._serve, chosen, private, public, self.times[1])
        control = None if self.control is None else SupervisorControl(self.control, supervisor, self.about)
        if control is not None:
            supervisor.ready = control.open
        if served_bundle().manifest.runtime == "onnx" and os.environ.setdefault(NO_TELEMETRY, "1") == "1":
            library()  # without its telemetry it starts no thread, and its memory is shared
        gc.freeze()  # collecting would write to pages that the processes share
        try:
            return supervisor.run()
        finally:
            if control is not None:
                control.close()

    def _serve(self, link: Link) -> int:
        """In a forked process."""
        if not self.auto or link.member.place:
            os.environ[THREADS] = str(max(1, available_cpus() // self.most))
        try:
            load_engine()
        except ServingError as error:
            link.channel.send({"state": "failed", "error": str(error)})
            return 1
        server = WorkerServer(self.plane, link, *self.times, self.grpc_at)
        return run_worker(server)
