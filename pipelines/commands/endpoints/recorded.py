"""recorded: count, export or forget the requests that an endpoint recorded."""

from pathlib import Path
from typing import Any

from tidegate.pipelines.errors import UsageError
from tidegate.pipelines.recordings.export import export, kind_of
from tidegate.pipelines.recordings.places import folder_of
from tidegate.pipelines.recordings.reading import REQUEST, Recordings
from tidegate.pipelines.result import Result, table
from tidegate.pipelines.state.bundles import fetch_bundle
from tidegate.pipelines.state.endpoint_names import require_endpoint
from tidegate.pipelines.state.home import Home
from tidegate.serving.bundle.bundle import open_bundle
from tidegate.serving.deployment.release import load
from tidegate.serving.recording.segments import kept_for


def recorded(home: Home, name: str, output: str | None, forget: str | None) -> Result:
    """Count, export or forget.

    Args:
        home: the home.
        name: the endpoint.
        output: the file to write, see `recordings.export`.
        forget: COLUMN=VALUE of the rows to remove.

    Raises:
        UnknownNameError: no such endpoint.
        UsageError: the endpoint is on a cluster, or what is asked cannot be done.
        RecordingError: the key or a segment cannot be read.
        InfraError: a file cannot be written.
    """
    if home.target is not None:
        raise UsageError(
            "requests are recorded by endpoints on this machine, and --target names a cluster; leave it out"
        )
    if output is not None and forget is not None:
        raise UsageError(
            "--output and --forget are both given; expected one of them; give one after the other"
        )
    require_endpoint(home, name)
    if forget is not None:
        return _forget(home, name, forget)
    if output is not None:
        path = Path(output)
        kind = kind_of(path)
        rows = export(Recordings(home, name).oldest(), path, kind)
        return Result({"endpoint": name, "rows": rows, "output": output}, f"{rows:,} rows in {output}")
    return _counted(home, name)


def _counted(home: Home, name: str) -> Result:
    recordings = Recordings(home, name)
    found = sorted(recordings.counts().items(), key=lambda one: (one[0][0], one[0][1] or 0))
    days = [{"day": day, "release": release, "rows": rows} for (day, release), rows in found]
    total, size = sum(rows for _, rows in found), recordings.bytes_on_disk()
    data: dict[str, Any] = {"endpoint": name, "rows": total, "bytes": size, "days": days}
    keep = kept_for(folder_of(home, name))
    data |= {"keep_seconds": keep, "unreadable": sorted(recordings.unreadable)}
    if not found and recordings.left_out:
        return Result(data, f"no row can be read: {recordings.left_out}")
    if not found:
        return Result(
            data, f"{name} has recorded nothing; serving.record in its experiment file makes it do so"
        )
    shown = [(day["day"], day["release"], f"{day['rows']:,}") for day in days]
    text = table(("day (UTC)", "release", "rows"), shown)
    text += f"\n\n{total:,} rows, {size / 1e6:.1f} MB encrypted in {folder_of(home, name)}"
    if keep is not None:
        text += f"\nrows stay {keep / 86_400:.3g} days; the server deletes older ones, or `tidegate gc`"
    return Result(data, f"{text}\n{recordings.left_out}".strip())


def _forget(home: Home, name: str, asked: str) -> Result:
    column, separator, value = asked.partition("=")
    if not separator or not column or not value:
        raise UsageError(f"--forget is {asked!r}; expected COLUMN=VALUE, such as customer=17; write it so")
    known = [*_inputs(home, name), REQUEST]
    if column not in known and not Recordings(home, name).has_column(column):
        raise UsageError(
            f"--forget {asked}: no recorded row has a column {column!r}; expected one of: {', '.join(known)}"
        )
    gone = Recordings(home, name).forget(column, value)
    data = {"endpoint": name, "column": column, "forgotten": gone}
    return Result(data, f"{gone:,} rows were removed; what servers have not written yet is not written")


def _inputs(home: Home, name: str) -> list[str]:
    state = load(home.store, name)
    bundle = open_bundle(fetch_bundle(home, state.release(state.current or 0).bundle))
    return [field.name for field in bundle.contract.inputs]
