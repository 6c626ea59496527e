"""`make bench-cluster`: what a run costs on the testbed, short trials packed, and a driver of up to 10,000 trials.

The trials of the second part are real Jobs on simulated nodes; their outputs are put into the store beforehand. The
driver is a process of its own for each size: the plan, the executor and the record are the real ones, MLflow is not
told.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tidegate.infra.testbed import nodes
from tidegate.infra.testbed.host.layout import Layout
from tidegate.pipelines.driver.scheduler import run_plan
from tidegate.pipelines.state.home import Home, StepRecord
from tidegate.pipelines.state.mirror import Mirror

from ..cluster.simulated import SimulatedExecutor, home_on_testbed, plan_of, recorder

SIZES = (10, 100, 1000, 10000)
PARALLELISM = 100
NODES = 1000
MOST_READY_S = 10
# Of 10,000 trials over 1,000: seconds, MB.
MOST_LONGER, MOST_LARGER, MOST_REQUESTS = 11, 1.3, 1
SHORT_TRIALS, MOST_PACKED = 20, 0.25
SPACE = "{training.optimizer.learning_rate: {low: 0.001, high: 0.1, log: true}}"


def drive(trials: int) -> dict[str, Any]:
    """Drive so many trials; what it took this process."""
    with tempfile.TemporaryDirectory() as folder:
        home = home_on_testbed(Path(folder) / "home")
        plan = plan_of(f"many-{trials}-{os.getpid()}", trials, PARALLELISM)
        listener = recorder(home, plan)
        executor = SimulatedExecutor(home, plan.run, plan.experiment.resources, None)
        began, cpu = time.monotonic(), time.process_time()
        run_plan(plan, executor, home.store, listener.folder, listener)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        requests = home.cluster.requests
        home.cluster.delete_all("Job", f"tidegate.dev/run={plan.run}")
        executor.watcher.stop()
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"trials": trials, "seconds": seconds, "cpu": cpu, "requests": requests, "megabytes": megabytes}


def submit() -> dict[str, float]:
    """Seconds from a submit to the first training batch, and from the winner to the ready endpoint."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        tidegate = [sys.executable, "-m", "tidegate.pipelines.cli"]
        where = ["--target", "testbed", "--home", str(home), "--json"]
        own = ["--set", f"data.split.seed={int(time.time()) % 100000}", "--set", "serving.endpoint=bench"]
        own += ["--set", "gate={metric: test_accuracy, minimum: 0.5, improve_on_champion: null}"]
        began = time.time()
        done = subprocess.run(
            [*tidegate, "submit", "digits", *own, *where], capture_output=True, text=True, check=True
        )
        answer = json.loads(done.stdout)
        mirror = Mirror(home_on_testbed(home / "targets" / "testbed"), answer["run"])
        train = next(step["id"] for step in answer["steps"] if step["step"] == "train")
        progress = json.loads(mirror.pull(f"progress/{train}.json") or b"{}")
        subprocess.run([*tidegate, "delete", "bench", *where], capture_output=True, check=False)
    seconds = {step["step"]: step["seconds"] for step in answer["steps"]}
    live = seconds["deploy"] + seconds["verify"] + seconds["promote"]
    return {
        "submit to first training batch": progress["began"] - began,
        "winner proved and packaged": seconds["package"],
        "its pods ready": seconds["deploy"],
        f"its endpoint live: deploy, verify, promote (goal <= {MOST_READY_S})": live,
    }


def short_trials(pack: int) -> tuple[float, float]:
    """Seconds from the prepared data to the end of the last of 20 short trials, so many in a pod; the best accuracy."""
    search = (
        f"method: random, trials: {SHORT_TRIALS}, parallelism: 2, pack: {pack}, pruning: null, space: {SPACE}"
    )
    # Data and trials that no store knows: the clock starts where prepare ends, and one from before ended long ago.
    fresh = str(time.time_ns() % 2**31)
    own = {
        "search": f"{{{search}}}",
        "training.epochs": "2",
        "data.split.seed": fresh,
        "training.seed": fresh,
        "serving.endpoint": "bench-packed",
        "gate": "{metric: test_accuracy, minimum: 0.05, improve_on_champion: null}",
    }
    given = [word for key, value in own.items() for word in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as folder:
        tidegate = [sys.executable, "-m", "tidegate.pipelines.cli"]
        where = ["--target", "testbed", "--home", str(Path(folder) / "home"), "--json"]
        submit = [*tidegate, "submit", "digits", *given, *where]
        done = subprocess.run(submit, capture_output=True, text=True, check=True)
        home = home_on_testbed(Path(folder) / "home" / "targets" / "testbed")
        steps = home.run_folder(json.loads(done.stdout)["run"]).read().steps
        found = {step: _manifests(home, steps, step) for step in ("prepare", "train")}
        subprocess.run([*tidegate, "delete", "bench-packed", *where], capture_output=True, check=False)
    prepared, last = (max(one["began"] + one["seconds"] for one in found[step]) for step in found)
    return last - prepared, max(one["outputs"]["metrics"]["test_accuracy"] for one in found["train"])


def _manifests(home: Home, steps: Sequence[StepRecord], kind: str) -> list[dict[str, Any]]:
    """What the finished steps of a kind left in the store."""
    keys = [f"steps/{step.key}.json" for step in steps if step.step == kind]
    return [json.loads(content) for content, _ in home.store.read_many(keys).values()]


def packed_table() -> None:
    """Twenty short trials, a pod each and packed."""
    print("| 20 short trials | seconds | a trial | best accuracy |\n|---|---|---|---|")
    seconds = {}
    for pack in (1, SHORT_TRIALS):
        seconds[pack], best = short_trials(pack)
        name = "a pod each" if pack == 1 else "packed"
        print(
            f"| {name} | {seconds[pack]:.1f} | {seconds[pack] / SHORT_TRIALS:.2f} | {best:.4f} |", flush=True
        )
    print(
        f"\npacked / a pod each: {seconds[SHORT_TRIALS] / seconds[1]:.2f} (goal <= {MOST_PACKED})\n",
        flush=True,
    )


def _fresh(trials: int) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.bench.cluster", "--trials", str(trials)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def driver_table(sizes: Sequence[int]) -> None:
    """What the driver costs, by the number of trials."""
    layout = Layout.default()
    print(
        "| trials | seconds | a trial | driver's CPU s | MB | API requests a trial |\n|---|---|---|---|---|---|"
    )
    found = {}
    try:
        nodes.resize(layout, NODES)
        for size in sizes:
            it = found[size] = _fresh(size)
            cells = [f"{it['seconds']:.1f}", f"{it['seconds'] / size:.3f}", f"{it['cpu']:.1f}"]
            cells += [f"{it['megabytes']:.0f}", f"{it['requests'] / size:.1f}"]
            print(f"| {size} | {' | '.join(cells)} |", flush=True)
    finally:
        nodes.resize(layout, 0)
    if {1000, 10000} <= found.keys():
        few, many = found[1000], found[10000]
        longer, larger = many["seconds"] / few["seconds"], many["megabytes"] / few["megabytes"]
        print(
            f"\n10,000 over 1,000: {longer:.1f}x the seconds (goal <= {MOST_LONGER}), {larger:.2f}x the MB (goal <= "
            f"{MOST_LARGER}); requests a trial {many['requests'] / 10000:.2f} (goal <= {MOST_REQUESTS})"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, help="drive so many in this process, and print what it took")
    parser.add_argument("--only", choices=["submit", "packed", "driver"], help="one of the tables")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="numbers of trials of the driver's table"
    )
    given = parser.parse_args()
    if given.trials:
        print(json.dumps(drive(given.trials)))
        return
    if given.only in (None, "submit"):
        print("| what | seconds |\n|---|---|")
        print(
            "\n".join(f"| {what} | {seconds:.1f} |" for what, seconds in submit().items()),
            end="\n\n",
            flush=True,
        )
    if given.only in (None, "packed"):
        packed_table()
    if given.only in (None, "driver"):
        driver_table(given.sizes)


if __name__ == "__main__":
    main()
