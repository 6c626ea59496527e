"""gc: finds what runs and releases still need, and removes the rest."""

import contextlib
import fnmatch
import json
import time
from collections.abc import Collection
from typing import Any

from tidegate.infra.system.locks import is_held
from tidegate.models.user_code.code_folder import DOCUMENT, ENVIRONMENTS, read_code
from tidegate.pipelines.state.bundles import signature_key
from tidegate.pipelines.state.checkpoints import PREFIX, clear, step_key
from tidegate.pipelines.state.finished_steps import refs_in
from tidegate.pipelines.state.home import Home
from tidegate.pipelines.state.mirror import refresh
from tidegate.pipelines.state.promotions import bundles_underway
from tidegate.pipelines.state.removed import Removed, remove_folder
from tidegate.serving.bundle.bento import bento_size, delete_bento
from tidegate.serving.deployment.release import Release, load

# Documents in a target's store that refer to files, of runs of all machines.
RUN_DOCUMENTS = ("*/calls/*.json", "*/plan.json")
YOUNG_S = 3600.0  # a new file may belong to a step that is still running
COMPILED_S = 30 * 86400.0  # then JAX compiles it anew: nobody notes when it was used last


def collect_garbage(home: Home, young_s: float = YOUNG_S, given_up: Collection[str] = ()) -> Removed:
    """Remove what neither a run nor a release needs; return what was removed.

    Kept are every step result that a run's record names, everything those refer to, and the bundles and bentos
    of all releases of endpoints. A file younger than `young_s` seconds is left alone, unless its digest is one of
    `given_up`: files that only runs refer to which are deleted now.
    """
    refresh(home)
    removed = Removed()
    releases = releases_of(home)
    _remove_steps(home, releases, removed)
    _remove_bundles(home, releases, removed)
    _remove_checkpoints(home, removed)
    digests = needed_digests(home)
    for stored in list(home.store.objects()):
        old = time.time() - stored.modified >= young_s
        if stored.digest not in digests and (old or stored.digest in given_up):
            home.store.remove(stored.digest)
            removed.add(f"object {stored.digest[:12]} ({stored.size} bytes)", stored.size)
    removed.names += home.store.sweep(young_s)
    _remove_environments(home, young_s, removed)
    _remove_work(home, removed)
    _remove_compiled(home, removed)
    return removed


def releases_of(home: Home) -> list[Release]:
    names = [key.removeprefix("endpoints/").removesuffix(".json") for key in home.store.keys("endpoints/")]
    return [release for name in names for release in load(home.store, name).releases]


def _documents(home: Home, prefix: str, kind: str = "*.json") -> dict[str, Any]:
    """Every document below a prefix whose key is of a kind, by key."""
    found = home.store.read_many(fnmatch.filter(home.store.keys(prefix), kind))
    return {key: json.loads(content) for key, (content, _) in found.items()}


def _remove_steps(home: Home, releases: list[Release], removed: Removed) -> None:
    """Remove results that no run's record names, and the bentos that only they named."""
    records = [folder.read() for folder in home.run_folders()]
    needed = {f"steps/{step.key}.json" for record in records for step in record.steps}
    running = {record.run for record in records if record.status in ("running", "queued", "waiting")}
    bentos = {release.bento for release in releases}
    for key, manifest in _documents(home, "steps/").items():
        if key in needed or manifest["run"] in running:
            continue
        home.store.delete(key)
        removed.add(key)
        bento = manifest["outputs"].get("bento")
        size = bento_size(bento) if bento and bento not in bentos else 0
        if bento and bento not in bentos and delete_bento(bento):
            removed.add(f"bento {bento}", size)


def _remove_checkpoints(home: Home, removed: Removed) -> None:
    """Remove checkpoints of trials that are done, and of those that no run's record names."""
    named = {step.key for folder in home.run_folders() for step in folder.read().steps}
    keys = {step_key(key.removeprefix(PREFIX).removesuffix(".json")) for key in home.store.keys(PREFIX)}
    gone = [key for key in sorted(keys) if key not in named or home.store.read(f"steps/{key}.json")]
    removed.names += [document for key in gone for document in clear(home.store, key)]


def _remove_bundles(home: Home, releases: list[Release], removed: Removed) -> None:
    """Remove bundles that no release serves and no packaged run may serve, and their folders."""
    manifests = _documents(home, "steps/").values()
    needed = {release.bundle for release in releases} | bundles_underway(home.store)
    needed |= {manifest["outputs"]["bundle"] for manifest in manifests if manifest["step"] == "package"}
    for key in home.store.keys("bundles/"):
        if key.removeprefix("bundles/").removesuffix(".json") not in needed:
            home.store.delete(key)
            removed.add(key)
            home.store.delete(signature_key(key.removeprefix("bundles/").removesuffix(".json")))
    for folder in home.bundles.iterdir():
        if folder.name not in needed:
            removed.add(f"folder bundles/{folder.name[:12]}", remove_folder(folder))


def _remove_environments(home: Home, young_s: float, removed: Removed) -> None:
    """Remove the packages of projects that no run's step and no bundle names."""
    calls = [call for folder in home.run_folders() for call in (folder.path / "calls").glob("*.json")]
    codes = [json.loads(call.read_bytes()).get("inputs", {}).get("code") for call in calls]
    needed = {code["environment"] for code in codes if code}
    for refs in _documents(home, "bundles/").values():
        documents = [ref for ref in refs_in(refs) if ref.name == DOCUMENT and home.store.has(ref)]
        needed |= {read_code(home.store.fetch(ref)).environment for ref in documents}
    for folder in (home.path / ENVIRONMENTS).glob("[0-9a-f]*"):
        if folder.is_dir() and folder.name not in needed and time.time() - folder.stat().st_mtime >= young_s:
            removed.add(f"packages {folder.name[:12]}", remove_folder(folder))


def needed_digests(home: Home) -> set[str]:
    """Digests of everything that a kept document refers to."""
    needed: set[str] = set()
    for prefix in ("steps/", "bundles/", "schedules/", PREFIX):
        needed |= {ref.digest for ref in refs_in(_documents(home, prefix))}
    for kind in RUN_DOCUMENTS:
        needed |= {ref.digest for ref in refs_in(_documents(home, "runs/", kind))}
    for folder in home.run_folders():
        for call in (folder.path / "calls").glob("*.json"):
            needed |= {ref.digest for ref in refs_in(json.loads(call.read_bytes()))}
    return needed


def _remove_work(home: Home, removed: Removed) -> None:
    """Remove the temporary folders of killed steps."""
    for folder in home.run_folders():
        if is_held(folder.lock):
            continue
        for path in (folder.path / "work").glob("*"):  # a target's run that was only read here has none
            removed.add(f"work {path.name}", remove_folder(path))


def _remove_compiled(home: Home, removed: Removed) -> None:
    """Remove old programs that JAX compiled; their folder stays for who uses it now."""
    for path in home.compiled.glob("*/*"):
        with contextlib.suppress(FileNotFoundError):  # a trial tidies too
            found = path.stat()
            if path.is_file() and time.time() - found.st_mtime >= COMPILED_S:
                path.unlink()
                removed.add(f"compiled {path.name[:40]}", found.st_size)
