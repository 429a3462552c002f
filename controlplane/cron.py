"""The times of a crontab line: minute, hour, day of month, month, day of week.

    "30 8 * * 1-5"  ->  Schedule  --next_after(moment)-->  the next Monday to Friday at 8:30

Sources: crontab(5); Kubernetes documentation "CronJob: Schedule syntax".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 7),
)
NAMES = {
    "month": ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    "day of week": ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
HORIZON = timedelta(days=5 * 366)  # 29 February comes within this time


@dataclass(frozen=True)
class Schedule:
    """The allowed values of each field. When both days are restricted, one of them is enough (crontab(5))."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    any_day: bool
    any_weekday: bool

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after `moment`, in its time zone; None if there is none within five years."""
        found = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        end = moment + HORIZON
        while found < end:
            if found.month not in self.months or not self._is_day(found):
                found = found.replace(hour=0, minute=0) + timedelta(days=1)
            elif found.hour not in self.hours:
                found = found.replace(minute=0) + timedelta(hours=1)
            elif found.minute not in self.minutes:
                found += timedelta(minutes=1)
            else:
                return found
        return None

    def _is_day(self, moment: datetime) -> bool:
        of_month, of_week = moment.day in self.days, moment.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return of_month and of_week
        return of_month or of_week


def parse(text: str) -> Schedule:
    """The schedule of a crontab line. Raises ValueError that says what is wrong."""
    parts = MACROS.get(text.strip().lower(), text).split()
    if len(parts) != len(FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(parts)}: [{text}]")
    minutes, hours, days, months, weekdays = (
        _field(part, *field) for part, field in zip(parts, FIELDS, strict=True)
    )
    weekdays = frozenset(day % 7 for day in weekdays)
    return Schedule(minutes, hours, days, months, weekdays, parts[2][0] in "*?", parts[4][0] in "*?")


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, name, 1, 1000, text) if slash else 1
        if span in ("*", "?"):
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _number(start, name, low, high, text)
            last = _number(end, name, low, high, text) if dash else (high if slash else first)
        if first > last:
            raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {text}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, name: str, low: int, high: int, whole: str) -> int:
    known = NAMES.get(name, [])
    if text.lower() in known:
        return known.index(text.lower()) + (name == "month")
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"failed to parse int from {text}: {whole}")
    if not low <= int(text) <= high:
        raise ValueError(f"{name}: want {low}-{high}, got {text}: {whole}")
    return int(text)
