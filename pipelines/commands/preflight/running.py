"""Running checks so that all mistakes are reported at once."""

from collections.abc import Callable, Iterable

from tidegate.models.errors import ModelsError
from tidegate.pipelines.errors import ExperimentError

NEXT = "\n  "  # between two mistakes


def run_checks(checks: Iterable[Callable[[], object]]) -> None:
    """Run all checks and report all mistakes at once; a single mistake keeps its own error."""
    found: list[ExperimentError | ModelsError] = []
    for check_one in checks:
        try:
            check_one()
        except (ExperimentError, ModelsError) as error:
            found.append(error)
    lines = list(dict.fromkeys(line for error in found for line in str(error).split(NEXT)))
    if len(lines) > 1:
        raise ExperimentError(NEXT.join(lines)) from found[0]
    if found:
        raise found[0]
