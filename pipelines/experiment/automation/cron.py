"""The moments that a cron expression names in a time zone, with days that have 23 or 25 hours.

An hour, or a minute of it, that is stated comes once a day: where the clock jumps over it, right after the jump; where
the clock shows it twice, the first time. What is stated as `*` or `*/N` follows the time that passes. So does cron of
Debian, whose rules cronsim keeps.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from tidegate.pipelines.errors import nearest

FIELDS = 5
FIRST = datetime(2025, 12, 31).timestamp()  # any fixed day: what is refused must not depend on today
LOOKED_AT = 25  # moments whose distances are compared with a jitter: a day of an hourly schedule


def moments(cron: str, timezone: str, after: float) -> Iterator[float]:
    """The moments after `after` in their order, each in seconds since the epoch; both were checked before."""
    start = datetime.fromtimestamp(after, ZoneInfo(timezone))
    last = after
    for found in CronSim(cron, start):
        moment = found.timestamp()
        if moment > last:
            yield moment
            last = moment


def problems_of(cron: str, timezone: str, jitter_s: float) -> Iterator[str]:
    """What is wrong with a schedule, one sentence each.

    Args:
        cron: five fields.
        timezone: its name in the IANA database.
        jitter_s: the longest delay of a start, seconds.
    """
    zones = list(_zone_problems(timezone))
    yield from zones
    if len(cron.split()) != FIELDS:
        yield (
            f'cron "{cron}" has {len(cron.split())} fields; expected five: minute, hour, day of the month, month, day '
            "of the week, such as '0 3 * * *'; correct it"
        )
        return
    try:
        found = list(islice(moments(cron, "UTC" if zones else timezone, FIRST), LOOKED_AT))
    except CronSimError as error:
        yield (
            f'cron "{cron}": {error}; expected numbers, names, *, lists, */N, or ranges from the smaller to the larger '
            "(sun is 0, sat is 6: fri,sat,sun for fri to sun); correct it"
        )
        return
    gap = min((later - earlier for earlier, later in pairwise(found)), default=jitter_s + 1)
    if jitter_s >= gap:
        yield (
            f"jitter is {jitter_s:g} s, and two moments of the cron are {gap:g} s apart; expected less than that; "
            "lower it"
        )


def _zone_problems(timezone: str) -> Iterator[str]:
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        fix = "correct it" if known else "install the package tzdata: this machine knows no zone at all"
        near = nearest(timezone, known)
        yield f'timezone "{timezone}" is not known{near}; expected a name such as Europe/Berlin; {fix}'
