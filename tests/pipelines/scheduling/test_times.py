"""What a schedule's moments ask for, over days with a clock that jumps, a scheduler that is off, and runs that last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tidegate.pipelines.experiment.automation.cron import moments
from tidegate.pipelines.experiment.automation.schedule import Schedule
from tidegate.pipelines.scheduling.document import RECENT, ScheduleState, Start
from tidegate.pipelines.scheduling.times import MOST, begin, delay, next_start, pass_time

HOUR, DAY = 3600.0, 86400.0


def at(text: str, timezone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).timestamp()


@dataclass
class Life:
    """A scheduler's life in fake time: each start lasts `lasts` seconds."""

    schedule: Schedule
    now: float
    lasts: float = 60.0
    begun: list[tuple[str, float]] = field(default_factory=list)
    ends: float = 0.0

    def __post_init__(self) -> None:
        self.state = ScheduleState(name="wine", experiment={}, created=self.now, handled=self.now)

    def tick(self) -> None:
        underway = "wine-1" if self.now < self.ends else None
        state = begin(pass_time(self.state, self.schedule, self.now), self.schedule, self.now, underway)
        if state.begun is not None:
            self.begun.append((state.begun.cause, state.begun.moment))
            self.ends = self.now + self.lasts
            state = state.model_copy(update={"begun": None})
        self.state = state

    def until(self, end: float, every: float = 50.0) -> None:
        while self.now < end:
            self.tick()
            self.now += every

    def outcomes(self) -> dict[str, int]:
        return dict(self.state.counts)


def life(begin_at: str, **schedule: Any) -> Life:
    stated = Schedule.model_validate({"cron": "0 3 * * *", "timezone": "Europe/Berlin", **schedule})
    return Life(stated, at(begin_at, stated.timezone))


def hours(moment: float) -> str:
    return datetime.fromtimestamp(moment, ZoneInfo("Europe/Berlin")).strftime("%d %H:%M %Z")


def test_each_moment_of_a_week_begins_once() -> None:
    week = life("2026-06-01T00:00")
    week.until(week.now + 7 * DAY, every=50)
    assert [hours(moment) for _, moment in week.begun] == [f"0{day} 03:00 CEST" for day in range(1, 8)]
    assert not week.outcomes()


@pytest.mark.parametrize(
    ("cron", "days", "wanted"),
    [
        # The clock jumps from 02:00 to 03:00 on 29 March, and shows 02:00 to 03:00 twice on 25 October.
        ("30 2 * * *", ("2026-03-28", "2026-03-31"), ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"]),
        ("30 2 * * *", ("2026-10-24", "2026-10-27"), ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"]),
        ("30 3 * * *", ("2026-10-24", "2026-10-27"), ["24 03:30 CEST", "25 03:30 CET", "26 03:30 CET"]),
    ],
)
def test_an_hour_that_is_stated_comes_once_a_day(cron: str, days: tuple[str, str], wanted: list[str]) -> None:
    first, last = (at(f"{day}T00:00", "Europe/Berlin") for day in days)
    assert [hours(moment) for moment in _between(cron, first, last)] == wanted


def test_each_hour_follows_the_time_that_passes() -> None:
    for day, number in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)):
        first = at(f"{day}T00:00", "Europe/Berlin") - 1
        found = list(_between("0 * * * *", first, first + number * HOUR))
        assert len(found) == number
        assert {later - earlier for earlier, later in pairwise(found)} == {HOUR}


def _between(cron: str, first: float, last: float) -> Iterator[float]:
    for moment in moments(cron, "Europe/Berlin", first):
        if moment > last:
            return
        yield moment


@pytest.mark.parametrize(("catch_up", "begun"), [("skip", []), ("one", [("catch_up", 4)])])
def test_moments_while_nothing_ran_are_missed(catch_up: str, begun: list[tuple[str, int]]) -> None:
    week = life("2026-06-01T12:00", catch_up=catch_up)
    week.until(week.now + HOUR)
    week.now = at("2026-06-04T12:00", "Europe/Berlin")  # off for three days
    week.until(week.now + HOUR)
    assert [(cause, datetime.fromtimestamp(moment).day) for cause, moment in week.begun] == begun
    assert week.outcomes() == {"missed": 3}
    (told,) = week.state.outbox
    assert told.title == (
        "the schedule wine passed 3 moments from 2026-06-02 03:00 CEST to 2026-06-04 03:00 CEST without a run"
    )
    made = "one run makes up for it" if begun else "no run makes up for it"
    assert told.facts["reason"].endswith(made)


def test_a_short_absence_misses_nothing() -> None:
    week = life("2026-06-01T02:59")
    week.tick()
    week.now += 90  # 30 s after the moment
    week.tick()
    assert len(week.begun) == 1
    assert not week.state.outbox


def test_a_clock_that_is_set_back_begins_nothing_twice() -> None:
    week = life("2026-06-01T02:00")
    week.until(week.now + 2 * HOUR)
    week.now -= HOUR + 1  # before the moment that has begun
    week.until(week.now + 3 * HOUR)
    assert len(week.begun) == 1
    assert next_start(week.state, week.schedule, week.now) == at("2026-06-02T03:00", "Europe/Berlin")


def test_a_clock_that_was_years_ahead_does_not_silence_a_schedule() -> None:
    week = life("2026-06-01T12:00")
    week.now += 3650 * DAY
    week.tick()
    assert week.state.counts["missed"] in (3650, 3651)
    week.now -= 3650 * DAY
    week.until(week.now + DAY, every=50)
    assert [hours(moment) for _, moment in week.begun] == ["02 03:00 CEST"]


def test_each_minute_of_a_day_is_counted_and_the_one_that_is_due_begins() -> None:
    day = life("2026-06-01T12:00", cron="* * * * *")
    day.now += DAY + 5
    day.tick()
    assert day.begun == [("cron", day.now - 5)]
    assert day.outcomes() == {"missed": 1439}
    assert "to 2026-06-02 11:59 CEST" in day.state.outbox[0].title


def test_of_very_many_moments_the_last_ones_are_known() -> None:
    days = life("2026-06-01T12:00", cron="* * * * *")
    days.now += 9 * DAY + 5
    days.tick()
    assert days.begun == [("cron", days.now - 5)]
    (told,) = days.state.outbox
    assert MOST < told.facts["count"] < 9 * 1440
    assert told.facts["last"] == "2026-06-10 11:59 CEST"
    assert "only a part is counted" in told.facts["reason"]


def test_what_waits_begins_though_the_clock_was_set_back() -> None:
    day = life("2026-06-01T12:00")
    new = Start(id="new_data 1", cause="new_data", moment=day.now, at=day.now)
    day.state = day.state.model_copy(update={"owed": (new,)})
    day.ends = day.now + 100
    day.tick()
    assert day.state.owed[0].queued
    day.now -= 20 * HOUR
    day.ends = 0.0
    day.tick()
    assert [cause for cause, _ in day.begun] == ["new_data"]


def test_a_jittered_start_of_a_clock_that_was_years_ahead_is_not_owed() -> None:
    day = life("2026-06-01T12:00", jitter="10h")
    day.now = at("2036-06-02T03:00:10", "Europe/Berlin")
    day.tick()
    assert day.state.owed
    day.now = at("2026-06-01T13:00", "Europe/Berlin")
    day.tick()
    assert day.state.owed == ()


def test_a_clock_that_is_set_forwards_misses_what_lies_between() -> None:
    week = life("2026-06-01T02:30")
    week.tick()
    week.now += HOUR
    week.until(week.now + HOUR)
    assert week.begun == []
    assert week.outcomes() == {"missed": 1}


@pytest.mark.parametrize(
    ("overlap", "begun", "counts"),
    [
        ("skip", ["00:00", "03:00", "06:00"], {"skipped": 6}),
        ("queue", ["00:00", "02:30", "05:00"], {"skipped": 3}),
    ],
)
def test_a_run_that_outlasts_the_next_moments(overlap: str, begun: list[str], counts: dict[str, int]) -> None:
    """Hourly, each run of two and a half hours: skip goes with the moments, queue with the ends."""
    day = life("2026-05-31T23:59", cron="0 * * * *", overlap=overlap)
    day.lasts = 2.5 * HOUR - 1
    times = list[float]()
    end = day.now + 8 * HOUR
    while day.now < end:
        before = len(day.begun)
        day.tick()
        times += [day.now] if len(day.begun) > before else []
        day.now += 30
    assert [hours(moment)[3:8] for moment in times][:3] == begun
    assert day.outcomes()["skipped"] >= counts["skipped"] - 1
    assert all(told.event == "schedule_missed" for told in day.state.outbox)


def test_jitter_is_drawn_once_and_spreads() -> None:
    schedule = Schedule(cron="0 * * * *", jitter="30m")
    drawn = [delay("wine", schedule, moment * HOUR) for moment in range(200)]
    assert all(0 <= one < 1800 for one in drawn)
    assert len(set(drawn)) == 200
    assert 600 < sum(drawn) / 200 < 1200
    assert drawn[7] == delay("wine", schedule, 7 * HOUR)
    assert drawn[7] != delay("digits", schedule, 7 * HOUR)


def test_a_start_with_jitter_begins_at_its_time_whatever_restarts() -> None:
    day = life("2026-06-01T02:59", jitter="50m")
    due = at("2026-06-01T03:00", "Europe/Berlin")
    wanted = due + delay("wine", day.schedule, due)
    while not day.begun:
        day.tick()
        # A scheduler that was killed reads what the one before has written.
        day.state = ScheduleState.model_validate_json(day.state.model_dump_json())
        day.now += 5
    assert day.now - 5 == pytest.approx(wanted, abs=5)
    assert day.begun == [("cron", due)]


def test_a_start_that_nobody_was_there_for_is_missed() -> None:
    day = life("2026-06-01T02:59", jitter="10m")
    day.now += 65
    day.tick()  # the moment has come, its start has not
    assert len(day.state.owed) == 1
    day.now += 2 * HOUR
    day.tick()
    assert day.begun == []
    assert day.outcomes() == {"missed": 1}


def test_a_paused_schedule_owes_nothing() -> None:
    week = life("2026-06-01T00:00")
    week.state = week.state.model_copy(update={"paused": True})
    week.until(week.now + 2 * DAY, every=50)
    assert week.begun == []
    assert not week.outcomes()
    week.state = week.state.model_copy(update={"paused": False})
    week.until(week.now + DAY, every=50)
    assert len(week.begun) == 1


def test_a_run_by_hand_begins_though_paused_and_waits_for_the_one_before() -> None:
    week = life("2026-06-01T12:00")
    owed = Start(id="hand 1", cause="hand", moment=week.now, at=week.now)
    week.state = week.state.model_copy(update={"paused": True, "owed": (owed,)})
    week.ends = week.now + 100
    week.tick()
    assert week.begun == []
    assert week.state.owed[0].queued
    week.now += 101
    week.tick()
    assert [cause for cause, _ in week.begun] == ["hand"]


def test_triggers_alone_have_no_moments() -> None:
    state = ScheduleState(name="wine", experiment={}, created=0, handled=0)
    assert pass_time(state, None, 10 * DAY) == state
    assert next_start(state, None, 10 * DAY) is None


def test_only_the_last_entries_are_kept() -> None:
    week = life("2026-06-01T00:00", cron="*/5 * * * *")
    for _ in range(RECENT + 10):
        week.now += 600
        week.tick()
    assert len(week.state.recent) <= RECENT
    assert week.state.counts["missed"] == RECENT + 10
