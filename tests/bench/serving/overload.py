"""Ten times more than there is room for, open loop: `python -m tests.bench.serving.overload [SECONDS]`.

A model of some milliseconds is asked by closed loops first, to know what it can do and how long it takes; then
ten times as often, whether it answers or not, with the queue as it is set.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.schema import Field, Schema, Target
from models.transforms import Transforms
from serving.bundle import write_bundle
from serving.proof import Parity
from tests.bench.serving import servers

BODY = json.dumps({"rows": [[0.0] * 8] * 4}).encode()
WIDTH = 3072


def heavy(folder: Path) -> Path:
    """A bundle whose model multiplies two large matrices."""
    columns = {"x": np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)}
    field = Field(name="x", kind="numeric", dtype="float32", shape=(8,))
    schema = Schema(inputs=(field,), target=Target(names=("y",), task="regression"))
    weights = {"first": (8, WIDTH), "wide": (WIDTH, WIDTH), "last": (WIDTH, 1)}
    names = ["x", "a", "b", "c", "output"]
    nodes = [
        helper.make_node("MatMul", [names[place], weight], [names[place + 1]])
        for place, weight in enumerate(("first", "wide", "wide", "last"))
    ]
    graph = helper.make_graph(
        nodes,
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(np.full(shape, 1e-4, np.float32), name) for name, shape in weights.items()],
    )
    model = folder / "heavy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), model)
    proof = Parity(max_abs_difference=0.0, tolerance=1e-4, rows=1)
    write_bundle(
        folder / "heavy",
        name="heavy",
        run="bench",
        trial="bench",
        schema=schema,
        transforms=Transforms.fit(schema, columns),
        model=model,
        runtime="onnx",
        parity=proof,
        sample=columns["x"][:2].tolist(),
        versions={},
    )
    return folder / "heavy"


class Asker:
    """Asks over kept connections, and notes status and milliseconds."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.seen: list[tuple[str, float]] = []

    async def ask(self) -> None:
        """Once."""
        began = time.perf_counter()
        try:
            while self._idle and self._idle[-1][0].at_eof():
                self._idle.pop()  # closed, because it was idle
            reader, writer = self._idle.pop() if self._idle else await self._connect()
            writer.write(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            status = head[9:12].decode()
            self._idle.append((reader, writer))
        except (OSError, asyncio.IncompleteReadError) as error:
            status = type(error).__name__
        self.seen.append((status, (time.perf_counter() - began) * 1000))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)


async def closed(port: int, seconds: float, clients: int = 2) -> Asker:
    """As many clients as cores, each as fast as it is answered."""
    asker, until = Asker(port), time.perf_counter() + seconds

    async def client() -> None:
        while time.perf_counter() < until:
            await asker.ask()

    await asyncio.gather(*(client() for _ in range(clients)))
    return asker


async def opened(port: int, seconds: float, rate: float) -> Asker:
    """`rate` requests a second, answered or not."""
    asker, began, tasks = Asker(port), time.perf_counter(), set()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        tasks.add(asyncio.create_task(asker.ask()))
    await asyncio.gather(*tasks)
    return asker


def report(what: str, asker: Asker, seconds: float) -> None:
    """Print it by status."""
    for status in sorted({status for status, _ in asker.seen}):
        taken = [ms for found, ms in asker.seen if found == status]
        p50, p99 = np.percentile(taken, (50, 99))
        rate = len(taken) / seconds
        print(f"| {what} | {status} | {rate:.0f} | {p50:.1f} | {p99:.1f} |", flush=True)


def main() -> None:
    """Run both."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with tempfile.TemporaryDirectory(prefix="tidegate-overload-") as folder:
        server = servers.ours("heavy", heavy(Path(folder)))
        server.start()
        try:
            before = asyncio.run(closed(server.port, 5))
            rate = len(before.seen) / 5
            print("| load | answered | requests/s | p50 ms | p99 ms |\n|---|---|---|---|---|")
            report("2 clients, closed loop", before, 5)
            report(
                f"10x: {10 * rate:.0f} requests/s",
                asyncio.run(opened(server.port, seconds, 10 * rate)),
                seconds,
            )
            report("2 clients, right after", asyncio.run(closed(server.port, 5)), 5)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
