"""predict --shards: many files to predictions in a folder or bucket, here or as a Job of a cluster."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from tidegate.models.data.read_options import CsvOptions
from tidegate.models.data.sources import format_of_name
from tidegate.pipelines.batch.progress_bar import ProgressBar
from tidegate.pipelines.batch.wording import of_options
from tidegate.pipelines.commands.csv_options import csv_options
from tidegate.pipelines.commands.prediction.bundle_source import Source, source_of
from tidegate.pipelines.driver.kept_plan import PLAN
from tidegate.pipelines.errors import PipelineError, UsageError
from tidegate.pipelines.experiment.spec import Resources
from tidegate.pipelines.result import Result
from tidegate.pipelines.sharded_prediction.document import (
    BatchPlan,
    InputFile,
    Manifest,
    ShardDone,
    ShardFailed,
)
from tidegate.pipelines.sharded_prediction.inputs import InputReader, Inputs, find_inputs
from tidegate.pipelines.sharded_prediction.job import PodSize, job_name
from tidegate.pipelines.sharded_prediction.listing import check_apart
from tidegate.pipelines.sharded_prediction.local import run_here
from tidegate.pipelines.sharded_prediction.output import Ran, claim, complete, remaining, told
from tidegate.pipelines.sharded_prediction.place import OutputPlace, open_place
from tidegate.pipelines.sharded_prediction.remote import check_remote, run_job
from tidegate.pipelines.sharded_prediction.units import units_of
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import Mirror
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.inference.bulk_scoring import bundle_scorer, chunk_rows

MOST_SHARDS = 10_000
ROUNDS = 5


def predict_sharded(
    home: Home,
    name: str,
    source: Sequence[str] | None,
    output: str | None,
    format: str | None,
    csv: Sequence[str],
    shards: int,
    release: int | None,
    detach: bool,
    size: PodSize,
) -> Result:
    """Predict files in shards, each of which is done once, however often the command is given.

    Args:
        home: the home.
        name: the endpoint, or here a bundle's folder.
        source: files, folders, patterns, or URLs of buckets.
        output: a folder or a bucket's prefix.
        format: csv or jsonl; None: jsonl.
        csv: as for `predict`.
        shards: number of parts.
        release: of the endpoint; None: the live one.
        detach: on a cluster, return as soon as the Job is there.
        size: of its pods.

    Raises:
        UsageError: input or output cannot be used.
        PipelineError: a shard failed; all that became of it is in `data`.
    """
    if not source or "-" in source or output is None:
        raise UsageError("--shards: expected --input and --output, of files; add them, or leave --shards out")
    if not 1 <= shards <= MOST_SHARDS:
        raise UsageError(f"--shards is {shards}; expected 1 to {MOST_SHARDS}; correct it")
    size.check()
    if home.target is None and (detach or size != PodSize()):
        raise UsageError(
            "--detach, --cpu, --memory and --parallel are of a cluster's Job; expected --target too; leave them out"
        )
    found = source_of(home, name, release)
    if home.target is not None:
        check_remote(found.release, source, output)
    for one in source:
        check_apart(one, output)
    inputs = find_inputs(source, home.endpoint_of)
    plan = _plan(found, inputs.files, format, csv, shards)
    place = open_place(output, home.endpoint_of(output))
    claim(place, plan)
    began = time.monotonic()

    def run() -> Ran:
        if home.target is not None and found.release is not None:
            resources = resources_of(home, found.release.run)
            return run_job(home, found.release, plan, place, size, resources, detach)
        left = remaining(place, plan)
        return Ran(left, _run_here(home, found, inputs, plan, place, left) if left else [])

    ran, manifest = _to_the_end(run, plan, place)
    if ran.failed is None:
        return _detached(plan, place, ran.tried)
    return _result(plan, place, ran, manifest, time.monotonic() - began)


def _to_the_end(run: Callable[[], Ran], plan: BatchPlan, place: OutputPlace) -> tuple[Ran, Manifest | None]:
    """Run what is left; again where another command took a shard back meanwhile. The manifest, if all are done."""
    tried = set[int]()
    for _ in range(ROUNDS):
        ran = run()
        tried |= set(ran.tried)
        if ran.failed is None:
            return ran, None
        manifest = None if ran.failed else complete(place, plan)
        if ran.failed or manifest is not None:
            return Ran(sorted(tried), ran.failed), manifest
    raise PipelineError(
        f"--output {place.url}: shards that were done are gone again; expected only commands like this one to write "
        "there; stop the others, and give it again"
    )


def _plan(
    found: Source, inputs: tuple[InputFile, ...], format: str | None, csv: Sequence[str], shards: int
) -> BatchPlan:
    stated = csv_options(csv)
    _check_dialect(inputs, stated)
    contract = open_bundle(found.folder).contract.model_dump(mode="json")
    units_of(inputs, contract["inputs"], chunk_rows(contract))
    return BatchPlan(
        model=found.name,
        release=found.release.number if found.release else None,
        bundle=found.digest,
        format=format or "jsonl",
        csv={}
        if stated is None
        else {key: value for key, value in asdict(stated).items() if value is not None},
        shards=shards,
        inputs=inputs,
    )


def _check_dialect(inputs: Sequence[InputFile], stated: CsvOptions | None) -> None:
    """Refuse before anything is written what each shard would refuse."""
    other = next((file for file in inputs if format_of_name(file.path) != "csv"), None)
    if stated is not None and other is not None:
        raise UsageError(
            f"--csv is given and {other.path} is no .csv; expected only .csv files; leave --csv out, or predict the "
            "others into another --output"
        )


def _run_here(
    home: Home, found: Source, inputs: Inputs, plan: BatchPlan, place: OutputPlace, left: Sequence[int]
) -> list[ShardFailed]:
    bar = ProgressBar(None)

    def ended(what: ShardDone | ShardFailed) -> None:
        bar.close()
        print(told(what, plan), file=sys.stderr)

    release = found.release.number if found.release else None
    bundle = bundle_scorer(found.folder, found.name if found.release else None, release)
    failed = run_here(
        plan,
        place,
        left,
        bundle,
        lambda work: InputReader(work, home.endpoint_of, inputs.stamps),
        bar.add,
        ended,
    )
    bar.close()
    return failed


def resources_of(home: Home, run: str) -> Resources:
    """Those of the run's experiment, while the store has it; else the default, which is said."""
    kept = home.store.read(Mirror(home, run).key(PLAN))
    if kept is None:
        print(
            f"run {run} is not known here (it was removed, or its release was promoted from elsewhere): the pods get "
            "no node selector, no tolerations, no priority class and no queue of their own",
            file=sys.stderr,
        )
        return Resources.model_validate({})
    return Resources.model_validate(json.loads(kept[0])["experiment"]["resources"])


def _detached(plan: BatchPlan, place: OutputPlace, left: Sequence[int]) -> Result:
    job = job_name(plan, place.url)
    text = (
        f"job {job} predicts {len(left)} of {plan.shards} shards into {place.url}; the same command follows it, "
        f"`kubectl delete job {job}` stops it"
    )
    return Result({"output": place.url, "job": job, "shards": plan.shards, "left": len(left)}, text)


def _result(
    plan: BatchPlan, place: OutputPlace, ran: Ran, manifest: Manifest | None, seconds: float
) -> Result:
    tried, failed = len(ran.tried), ran.failed or []
    data: dict[str, Any] = {
        "model": plan.model,
        "release": plan.release,
        "output": place.url,
        "format": plan.format,
        "shards": plan.shards,
        "before": plan.shards - tried,
        "seconds": round(seconds, 3),
        "failed": [{"shard": one.shard, "message": one.message} for one in failed],
    }
    if manifest is None:
        raise _failed(plan, place, failed, data)
    for note in dict.fromkeys(note for part in manifest.parts for note in part.notes):
        print(f"warning: {of_options(note)}", file=sys.stderr)
    return Result(data | _whole(manifest), _text(manifest, place, tried, seconds))


def _whole(manifest: Manifest) -> dict[str, Any]:
    return {"rows": manifest.rows, "parts": [part.part for part in manifest.parts]}


def _text(manifest: Manifest, place: OutputPlace, tried: int, seconds: float) -> str:
    before = manifest.plan.shards - tried
    earlier = f", {before} of them before" if before else ""
    shards = f"{manifest.plan.shards} shards{earlier}"
    return f"{manifest.rows} rows predicted into {place.url} ({manifest.plan.format}, {shards}) in {seconds:.1f} s"


def _failed(
    plan: BatchPlan, place: OutputPlace, failed: Sequence[ShardFailed], data: dict[str, Any]
) -> PipelineError:
    error = PipelineError(
        f"{len(failed)} of {plan.shards} shards failed, the first: {failed[0].message}; the "
        f"parts of the others are in {place.url}; the same command tries the failed ones again; with other input "
        "choose another --output"
    )
    error.data = data
    return error
