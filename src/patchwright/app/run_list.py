"""The saved runs as a list shows them: titles in words, dates in words, one trace as one; no widgets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args

from patchwright.experiment.base import Experiment
from patchwright.methods.trace import Trace, TraceSite
from patchwright.storage.store import Entry

ID_DIGITS = 8
"""Of a run's id, in a list."""

_SITES: tuple[str, ...] = get_args(TraceSite)


@dataclass(frozen=True)
class RunRow:
    """What a list shows as one: a run, or the runs of one trace, whose maps are of several sites."""

    entries: tuple[Entry, ...]
    asked: Experiment | None
    """The first run's experiment; None where this version of Patchwright cannot read it."""

    @property
    def first(self) -> Entry:
        """The run that stands for all of them."""
        return self.entries[0]

    @property
    def ids(self) -> list[str]:
        """The runs' ids."""
        return [one.id for one in self.entries]

    @property
    def title(self) -> str:
        """What it asks."""
        return self.first.about if self.asked is None else self.asked.question

    def details_text(self) -> str:
        """Model, method, fields and prompt as code has them, and what else is known of it."""
        one = self.first
        parts = [one.model, f"{one.method} {one.about}", one.id[:ID_DIGITS]]
        if len(self.entries) > 1:
            parts.insert(1, f"{len(self.entries)} maps")
        if not all(entry.whole for entry in self.entries):
            parts.append("stopped before its end")
        if one.origin != "computed":
            parts.append("imported")
        notes = dict.fromkeys(entry.note for entry in self.entries if entry.note)
        return " · ".join([*parts, *(f"note: {note}" for note in notes)])


def run_rows(entries: Sequence[Entry], experiments: Mapping[str, Experiment]) -> list[RunRow]:
    """Runs in their order, those of one trace together where the first of them stands."""
    groups: list[list[Entry]] = []
    traces: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        asked = experiments.get(entry.id)
        if isinstance(asked, Trace):
            alike = asked.model_copy(update={"site": "resid_post", "window": 1})
            key = (alike.hash, entry.fingerprint, entry.device, entry.version, entry.origin)
            group = traces.get(key, [])
            if not group or asked.site in (_trace_site(experiments[one.id]) for one in group):
                group = traces[key] = list[Entry]()
                groups.append(group)
            group.append(entry)
        else:
            groups.append([entry])
    return [_run_row(group, experiments) for group in groups]


def _run_row(group: list[Entry], experiments: Mapping[str, Experiment]) -> RunRow:
    if len(group) > 1:
        group = sorted(group, key=lambda one: _SITES.index(_trace_site(experiments[one.id])))
    return RunRow(tuple(group), experiments.get(group[0].id))


def _trace_site(asked: Experiment) -> str:
    assert isinstance(asked, Trace), "only traces are grouped"
    return asked.site


def time_in_words(created: str, now: datetime) -> str:
    """A moment in words: 'today 14:05 UTC', 'yesterday 9:30 UTC', '3 May 9:30 UTC'."""
    moment = datetime.fromisoformat(created).astimezone(now.tzinfo)
    time = f"{moment.hour}:{moment:%M} UTC"
    if moment.date() == now.date():
        return f"today {time}"
    if moment.date() == (now - timedelta(days=1)).date():
        return f"yesterday {time}"
    year = "" if moment.year == now.year else f" {moment.year}"
    return f"{moment.day} {moment:%B}{year} {time}"


def dates(rows: Sequence[RunRow], now: datetime) -> list[str]:
    """When each was computed; behind it their ids where one question was asked twice in a minute."""
    asked = [(row.title, time_in_words(row.first.created, now)) for row in rows]
    counts = Counter(asked)
    return [
        f"{one[1]} · {row.first.id[:ID_DIGITS]}" if counts[one] > 1 else one[1]
        for one, row in zip(asked, rows, strict=True)
    ]


def toggled(picked: Sequence[str], ids: Sequence[str]) -> list[str]:
    """The selected runs after the row of these was ticked, or its tick taken away."""
    if any(one in picked for one in ids):
        return [one for one in picked if one not in ids]
    return [*picked, *ids]
