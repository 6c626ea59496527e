"""Ages as people write them: 30d, 12h, 90m, 45s."""

import re

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def age_in_seconds(text: str) -> float | None:
    """An age such as `7d` or `12h` in seconds; None if the text is none."""
    found = AGE.fullmatch(text.strip())
    return float(found[1]) * SECONDS[found[2]] if found else None
