"""What a notebook shows: tables, and the progress of a run that is waited for. Elsewhere nothing is shown."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from tidegate.infra.system.files import read_json
from tidegate.pipelines.python_api.results import EndpointRow, RunResult, RunRow
from tidegate.pipelines.state.home import Home, RunRecord

EVERY_S = 0.5  # between two updates of what is shown
SHOWN = 3  # metrics a run
Show = Callable[[RunRecord], None]


@contextmanager
def watching(home: Home, run: str) -> Iterator[Show]:
    """Show a run's steps while it runs, in a notebook; at the end a line remains.

    Yields:
        What is to be called with the run's record, as often as one likes.
    """
    if not in_notebook():
        yield lambda _: None
        return
    from IPython.display import HTML, display

    handle: Any = display(HTML(escape(run)), display_id=True)
    shown_at = 0.0

    def show(record: RunRecord) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= EVERY_S:
            shown_at = time.monotonic()
            handle.update(HTML(progress_html(home, record)))

    try:
        yield show
    finally:
        record = home.run_folder(run).read()
        handle.update(HTML(f"run <code>{escape(run)}</code> {record.status}"))


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this; a terminal, with IPython or without, is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def progress_html(home: Home, record: RunRecord) -> str:
    """The steps of a run that have begun, and how far the trainings are."""
    rows = [(step.id, step.status, _how_far(home, record, step.id, step.seconds)) for step in record.steps]
    head = f"<p>run <code>{escape(record.run)}</code> {record.status}</p>"
    return head + table(("step", "status", ""), rows)


def _how_far(home: Home, record: RunRecord, step: str, seconds: float) -> str:
    """How long a step took; of a training, the epoch it is in."""
    if seconds:
        return f"{seconds:.1f} s"
    known = read_json(home.folder_of(record.run).path / "progress" / f"{step}.json")
    if not known:
        return ""
    bar = f'<progress value="{known["share"]:.3f}" max="1"></progress>'
    return f"{bar} epoch {known['epoch']}/{known['epochs']}"


def run_html(result: RunResult) -> str:
    """A run's result: what it reached, where it is served, and its steps."""
    facts = [("run", escape(result.run)), ("status", result.status)]
    facts += [("reason", escape(result.reason))] if result.reason else []
    facts += [
        (escape(name), f"{value:.4f}") for name, value in result.metrics.items() if name.startswith("test_")
    ]
    facts += [("release", str(result.release))] if result.release is not None else []
    facts += [("parity", f"{result.parity:.2g}")] if result.parity is not None else []
    links = (("endpoint", result.endpoint), ("MLflow", result.mlflow_url))
    facts += [(name, f'<a href="{escape(url)}">{escape(url)}</a>') for name, url in links if url]
    steps = [(step.id, step.status, f"{step.seconds:.1f} s") for step in result.steps]
    return table((), facts) + table(("step", "status", "seconds"), steps)


def runs_html(rows: Sequence[RunRow]) -> str:
    """A line a run."""
    lines = [(escape(row.run), row.status, _moment(row.created), escape(_metrics(row))) for row in rows]
    return table(("run", "status", "created", "metrics"), lines)


def endpoints_html(rows: Sequence[EndpointRow]) -> str:
    """A line an endpoint."""
    lines = [
        (
            escape(row.name),
            str(row.release),
            f'<a href="{escape(row.url)}">{escape(row.url)}</a>',
            "answers" if row.live else "stopped",
            escape(row.run),
        )
        for row in rows
    ]
    return table(("name", "release", "url", "", "run"), lines)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; the cells are HTML already."""
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in headers)}</tr>" if headers else ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{head}{body}</table>"


def _metrics(row: RunRow) -> str:
    names = [name for name in row.metrics if name.startswith("test_") or name == row.metric]
    return "  ".join(f"{name} {row.metrics[name]:.4f}" for name in names[:SHOWN]) or row.reason[:60]


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
