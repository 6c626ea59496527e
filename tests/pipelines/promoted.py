"""What a promotion is to notice, done to the documents of a home."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from tidegate.infra.errors import ConflictError
from tidegate.models.probing.probes import load_probes, save_probes
from tidegate.pipelines.history.entries import ENTRIES, HEAD, Head, digest_of
from tidegate.pipelines.signing.releases import sign_bundle
from tidegate.pipelines.state.bundles import fetch_bundle, keep_bundle
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import MANIFEST, PROBES, open_bundle
from tidegate.serving.bundle.bundle_files import FileEntry
from tidegate.serving.deployment.release import EndpointState, load, update


def plant(home: Home, endpoint: str, folder: Path) -> tuple[int, str]:
    """Release 9, of an endpoint with two, that has served, whose probes say that other answers are right."""
    live = load(home.store, endpoint).release(2)
    shutil.copytree(fetch_bundle(home, live.bundle), folder)
    probes = load_probes(folder / PROBES)
    (folder / PROBES).unlink()
    save_probes(folder / PROBES, replace(probes, answers=1 - probes.answers))
    manifest = open_bundle(fetch_bundle(home, live.bundle)).manifest
    files = {**manifest.files, PROBES: FileEntry.of(folder / PROBES)}
    content = manifest.model_copy(update={"files": files}).model_dump_json(exclude_unset=True)
    (folder / MANIFEST).write_text(content)
    digest = keep_bundle(home, folder)
    sign_bundle(home, open_bundle(fetch_bundle(home, digest)))
    wrong = live.model_copy(update={"number": 9, "bundle": digest, "key": "planted", "state": "retired"})
    update(
        home.store,
        endpoint,
        lambda state: state.model_copy(update={"releases": (*state.releases, wrong)}),
        ConflictError,
    )
    return 9, digest


def change_entries(home: Home, before: str, after: str) -> None:
    """Change the only entry, and what says its digest: the digests alone would not tell."""
    (key,) = home.store.keys(ENTRIES)
    content, etag = home.store.read(key) or (b"", "")
    changed = content.replace(before.encode(), after.encode())
    assert changed != content
    home.store.write(key, changed, etag)
    head = home.store.read(HEAD)
    assert head is not None
    home.store.write(HEAD, Head(number=1, digest=digest_of(changed)).model_dump_json().encode(), head[1])


def without(state: EndpointState, number: int) -> EndpointState:
    kept = tuple(known for known in state.releases if known.number != number)
    return state.model_copy(update={"releases": kept})


def changed(state: EndpointState, number: int, change: dict[str, Any]) -> EndpointState:
    known = [one.model_copy(update=change) if one.number == number else one for one in state.releases]
    return state.model_copy(update={"releases": tuple(known)})
