"""`make bench-cluster`: what a run costs on the testbed, and what its driver costs for 10, 100 and 1,000 trials.

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
from pathlib import Path
from typing import Any

from tidegate.infra.testbed import nodes
from tidegate.infra.testbed.host.layout import Layout
from tidegate.pipelines.driver.scheduler import run_plan
from tidegate.pipelines.state.mirror import Mirror

from ..cluster.simulated import SimulatedExecutor, home_on_testbed, plan_of, recorder

SIZES = (10, 100, 1000)
PARALLELISM = 100
NODES = 1000
MOST_REQUESTS, MOST_MEGABYTES, MOST_READY_S = 8, 250, 10


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


def _fresh(trials: int) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.bench.cluster", "--trials", str(trials)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, help="drive so many in this process, and print what it took")
    trials = parser.parse_args().trials
    if trials:
        print(json.dumps(drive(trials)))
        return
    print("| what | seconds |\n|---|---|")
    print("\n".join(f"| {what} | {seconds:.1f} |" for what, seconds in submit().items()), flush=True)
    print()
    layout = Layout.default()
    print(
        "| trials | seconds | a trial | driver's CPU s | MB | API requests a trial |\n|---|---|---|---|---|---|"
    )
    try:
        nodes.resize(layout, NODES)
        for size in SIZES:
            it = _fresh(size)
            cells = [f"{it['seconds']:.1f}", f"{it['seconds'] / size:.3f}", f"{it['cpu']:.1f}"]
            cells += [f"{it['megabytes']:.0f}", f"{it['requests'] / size:.1f}"]
            print(f"| {size} | {' | '.join(cells)} |", flush=True)
        print(f"\ngoals: <= {MOST_REQUESTS} requests a trial, <= {MOST_MEGABYTES} MB, time linear in trials")
    finally:
        nodes.resize(layout, 0)


if __name__ == "__main__":
    main()
