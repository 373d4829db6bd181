"""Aggregator: the history of every series at three steps, and what a window of it comes to.

In    tick(now, snapshots) once a second; rows of an earlier life to go on from
Out   rows of closed minutes and hours to keep; query() for rules and gauges, rows() for charts
Rule  time is an argument and must move on: a tick in the same second or before is refused, and changes nothing.
      A second without a tick, or a tick without the series, is a gap: it is left out and lowers the coverage, and is
      never taken for 0. A counter that falls was started anew; one that is seen first was 0 before
Why   alerts and charts must work on a laptop without a server for series, and agree with one where there is one

    tier      step    kept in memory    made of                   after Netdata's three tiers
    seconds   1 s     1 h               ticks
    minutes   60 s    6 h               the minute's seconds
    hours     1 h     7 d               the hour's minutes

A window is cut into whole hours, whole minutes and single seconds, each from the coarsest tier that holds it: the same
result as from seconds alone, in a few hundred steps. Where the finer tier does not reach back far enough, the window
begins earlier, at the coarser step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor, fsum, inf, isfinite, isnan
from typing import Final

from harness.core.histogram import Histogram
from harness.core.point import HOURS, MINUTES, SECONDS, STEPS_S, Point, Row
from harness.core.series import Family, Labels, Observation, Snapshot
from harness.core.steps import Steps
from harness.core.track import RECENT_S, Ring, Track
from harness.core.window_answer import Aggregate, Part, answer

Match = Mapping[str, tuple[str, ...]]
"""A label -> the values of which one must be there."""
LATE_S: Final = 0.5
"""A tick that comes so long after the beginning of its second is called late."""
VALUE_MAX: Final = 1e290
"""What is further from 0 is a gap, like what is no number: sums over every series and all that is kept stay finite."""
_ANY: Final[Match] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorConfig:
    """How much is kept in memory: about 52 kB for each series, more for a histogram that is busy."""

    series_max: int = 2_000
    """Series beyond this get no history; they are counted in ``refused``."""
    seconds_kept: int = 3_600
    minutes_kept: int = 360
    hours_kept: int = 169
    """One more than the seven whole days that a window may have."""
    absent_max_s: int = 3_600
    """A series that was away for so long is dropped from memory."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.series_max < 1 or self.absent_max_s < 1:
            raise ValueError("series_max and absent_max_s must be 1 or more")
        if self.seconds_kept < RECENT_S or self.seconds_kept % STEPS_S[MINUTES]:
            raise ValueError(f"seconds_kept must be whole minutes, {RECENT_S} or more, got {self.seconds_kept}")
        if self.minutes_kept < STEPS_S[MINUTES]:
            raise ValueError(f"minutes_kept must be 60 or more, or an hour cannot be closed; got {self.minutes_kept}")
        if self.hours_kept < 2:  # noqa: PLR2004 - a window of an hour may touch two
            raise ValueError(f"hours_kept must be 2 or more, got {self.hours_kept}")


class Aggregator:
    """The history of one service."""

    __slots__ = ("_config", "_series", "_steps", "_tracks", "late", "refused")

    def __init__(self, config: AggregatorConfig | None = None) -> None:
        """Start with no history."""
        self._config = config or AggregatorConfig()
        self._steps = Steps((self._config.seconds_kept, self._config.minutes_kept, self._config.hours_kept))
        self._tracks: dict[str, dict[Labels, Track]] = {}
        self._series = 0
        self.late = 0
        """Ticks that came late, or after others were missed."""
        self.refused = 0
        """New series that there was no room for, tick by tick."""

    @property
    def series(self) -> int:
        """How many series have a history."""
        return self._series

    # --- Ticks --------------------------------------------------------------------------------------------------------
    def tick(self, now: float, snapshots: Iterable[Snapshot]) -> tuple[Row, ...]:
        """Keep what the series are at ``now`` (Unix seconds); give the rows of what has been closed by it."""
        slot = self._checked(now)
        found = tuple(snapshots)
        for snapshot in found:
            self._check_kind(snapshot.family)
        rows = self._closed(slot)
        steps = self._steps
        if steps.head >= 0 and (slot > steps.head + 1 or now - slot > LATE_S):
            self.late += 1
        steps.head = slot
        steps.add(SECONDS, slot)
        for snapshot in found:
            tracks = self._tracks.setdefault(snapshot.family.name, {})
            for labels, value in snapshot.series:
                track = tracks.get(labels) or self._begun(tracks, snapshot.family, labels, slot)
                if track is not None and (isinstance(value, Histogram) or abs(value) <= VALUE_MAX):
                    track.note(slot, value)
        self._sweep(slot)
        return rows

    def restore(self, now: float, rows: Iterable[Row]) -> tuple[Row, ...]:
        """Go on from what an earlier life has kept, before the first tick; give the rows of hours it did not close.

        Rows of the future, or of a time that is not kept in memory, are passed over.
        """
        steps = self._steps
        if steps.head >= 0:
            raise ValueError("restore comes before the first tick")
        slot = self._checked(now)
        for row in rows:
            step = STEPS_S[row.tier]
            if row.tier == SECONDS or not slot - slot % step - (steps.sizes[row.tier] - 1) * step <= row.ts <= slot:
                continue
            self._check_kind(row.family)
            tracks = self._tracks.setdefault(row.family.name, {})
            track = tracks.get(row.labels) or self._begun(tracks, row.family, row.labels, slot)
            if track is not None:
                track.born = min(track.born, row.ts)
                _ring(track, row.tier).put(steps.place(row.tier, row.ts), row.point)
                steps.add(row.tier, row.ts)
        return tuple(self._mended(slot))

    def _mended(self, slot: int) -> Iterator[Row]:
        """Close the hours of which there are more minutes than an earlier life has added up."""
        step = STEPS_S[HOURS]
        open_hour = slot - slot % step
        for hour in range(max(0, open_hour - self._config.minutes_kept // 60 * step), open_hour, step):
            for track in self._all():
                point, kept = self._hour(track, hour, hour + step), self._kept(HOURS, track, hour)
                if point is not None and (kept is None or point.n > kept.n):
                    track.hours.put(self._steps.place(HOURS, hour), point)
                    yield Row(track.family, track.labels, HOURS, hour, point)
                    self._steps.add(HOURS, hour)

    def remains(self) -> tuple[Row, ...]:
        """Give the open minute and the open hour as far as they are, for the end; nothing changes."""
        if self._steps.head < 0:
            return ()
        minute, hour = self._steps.open(MINUTES), self._steps.open(HOURS)
        rows = []
        for track in self._all():
            for tier, ts, point in (
                (MINUTES, minute, self._minute(track, minute)),
                (HOURS, hour, self._hour_so_far(track)),
            ):
                if point is not None:
                    rows.append(Row(track.family, track.labels, tier, ts, point))
        return tuple(rows)

    def _checked(self, now: float) -> int:
        if not 0.0 <= now < inf:
            raise ValueError(f"now must be Unix seconds, got {now}")
        slot = floor(now)
        if slot <= self._steps.head:
            raise ValueError(f"time must move on: the tick of second {self._steps.head} is kept already, got {now}")
        return slot

    def _check_kind(self, family: Family) -> None:
        for track in self._tracks.get(family.name, {}).values():
            if track.family.kind != family.kind:
                raise ValueError(f"{family.name} is a {track.family.kind}, not a {family.kind}")
            return

    def _begun(self, tracks: dict[Labels, Track], family: Family, labels: Labels, slot: int) -> Track | None:
        if self._series >= self._config.series_max:
            self.refused += 1
            return None
        self._series += 1
        track = tracks[labels] = Track(family, labels, slot, self._steps.sizes)
        return track

    def _sweep(self, slot: int) -> None:
        """Note who was not there; drop who has been away for long."""
        for tracks in self._tracks.values():
            gone = []
            for labels, track in tracks.items():
                if track.seen != slot:
                    track.miss(slot)
                    if slot - track.seen >= self._config.absent_max_s:
                        gone.append(labels)
            for labels in gone:
                del tracks[labels]
                self._series -= 1

    # --- Closing a step -----------------------------------------------------------------------------------------------
    def _closed(self, slot: int) -> tuple[Row, ...]:
        """Close what ``slot`` does not belong to any more."""
        rows: list[Row] = []
        for tier in (MINUTES, HOURS):
            ts = self._steps.open(tier)
            if 0 <= ts <= slot - STEPS_S[tier]:
                rows += self._close(tier, ts)
        return tuple(rows)

    def _close(self, tier: int, ts: int) -> list[Row]:
        place = self._steps.place(tier, ts)
        rows = []
        for track in self._all():
            point = self._minute(track, ts) if tier == MINUTES else self._hour(track, ts, ts + STEPS_S[HOURS])
            _ring(track, tier).put(place, point)
            if tier == MINUTES:
                track.shut()
            if point is not None:
                rows.append(Row(track.family, track.labels, tier, ts, point))
        self._steps.add(tier, ts)
        return rows

    def _minute(self, track: Track, ts: int) -> Point | None:
        """Make the point of a minute, closed or open, from its seconds."""
        size, seconds, has = self._config.seconds_kept, track.seconds, self._steps.has
        slots = (slot for slot in range(ts, ts + STEPS_S[MINUTES]) if has(SECONDS, slot))
        values = [value for slot in slots if not isnan(value := seconds[slot % size])]
        # The end of an earlier life may have kept the beginning of this minute.
        kept = self._kept(MINUTES, track, ts)
        if not values:
            return kept
        fresh = Point(len(values), fsum(values), min(values), max(values), values[-1], track.opened())
        return fresh if kept is None else kept + fresh

    def _hour(self, track: Track, ts: int, until: int) -> Point | None:
        """Make the point of an hour from its minutes before ``until``."""
        minutes = (self._kept(MINUTES, track, at) for at in range(ts, until, STEPS_S[MINUTES]))
        points = [point for point in minutes if point is not None]
        return _summed(points, [point.histogram for point in points if point.histogram is not None])

    def _hour_so_far(self, track: Track) -> Point | None:
        minute = self._steps.open(MINUTES)
        closed, last = self._hour(track, self._steps.open(HOURS), minute), self._minute(track, minute)
        return last if closed is None else closed if last is None else closed + last

    def _kept(self, tier: int, track: Track, ts: int) -> Point | None:
        return _ring(track, tier).get(self._steps.place(tier, ts)) if self._steps.has(tier, ts) else None

    # --- Questions ----------------------------------------------------------------------------------------------------
    def query(
        self,
        name: str,
        match: Match,
        agg: str,
        window_s: float,
        now: float,
        *,
        unless: Match = _ANY,
        by: tuple[str, ...] | None = None,
    ) -> Mapping[Labels, Observation]:
        """Give what the last ``window_s`` seconds come to, for each label set that has data.

        ``agg``: rate (per second) and increase of a counter, or of how often a histogram recorded; last, avg, min, max
        of a gauge; avg, min, max, p1 to p99.99 of a histogram. ``by`` names labels that stay: the rest is added up
        before a rate or percentile is taken (gauges: last is added up, min and max are the extreme). ValueError if
        the question cannot be answered; a name without any history has no data.
        """
        if not 1.0 <= window_s <= self.window_s_max:
            raise ValueError(f"window_s must be from 1 to {self.window_s_max}, got {window_s}")
        if not isfinite(now):
            raise ValueError(f"now must be Unix seconds, got {now}")
        tracks = self._tracks.get(name)
        steps = self._steps
        if not tracks or steps.head < 0:
            return {}
        kind = next(iter(tracks.values())).family.kind
        aggregate = Aggregate.of(agg, kind, grouped=by is not None)
        last = floor(now)
        fine_s = RECENT_S if aggregate.buckets else self._config.seconds_kept
        first = steps.begin(last - ceil(window_s) + 1, fine_s)
        plan = tuple(steps.cut(first, last))
        parts: dict[Labels, list[Part]] = {}
        for labels, track in tracks.items():
            if not _accepted(labels, match, unless):
                continue
            point = self._gathered(track, plan, buckets=aggregate.buckets)
            if point is not None:
                group = labels if by is None else tuple(pair for pair in labels if pair[0] in by)
                # It cannot have counted before it was there.
                span_s = last - max(first, track.born) + 1
                parts.setdefault(group, []).append(Part(point, span_s, now_there=track.seen >= min(last, steps.head)))
        answers = ((labels, answer(aggregate, found, last - first + 1)) for labels, found in parts.items())
        return {labels: found for labels, found in answers if found is not None}

    def count(self, name: str) -> int:
        """How many series of a metric have a history here."""
        return len(self._tracks.get(name, ()))

    def rows(self, name: str, tier: int, first: int, last: int) -> Iterator[Row]:
        """Give what memory holds of a metric at a tier's step, by series and time, the open step included."""
        step, head = STEPS_S[tier], self._steps.open(tier)
        begin = max(first - first % step, self._steps.reach(tier))
        for labels, track in sorted(self._tracks.get(name, {}).items()):
            for ts in range(begin, min(last, head) + 1, step):
                point = self._at(tier, track, ts, head)
                if point is not None:
                    yield Row(track.family, labels, tier, ts, point)

    def reach(self, tier: int) -> int:
        """Give the Unix second from which on memory holds a tier."""
        return self._steps.reach(tier)

    @property
    def window_s_max(self) -> int:
        """The longest window that can be asked for, in seconds."""
        return (self._config.hours_kept - 1) * STEPS_S[HOURS]

    def _at(self, tier: int, track: Track, ts: int, head: int) -> Point | None:
        if tier == SECONDS:
            return self._second(track, ts) if self._steps.has(SECONDS, ts) else None
        if ts < head:
            return self._kept(tier, track, ts)
        return self._minute(track, ts) if tier == MINUTES else self._hour_so_far(track)

    def _second(self, track: Track, slot: int) -> Point | None:
        value = track.seconds[slot % self._config.seconds_kept]
        if isnan(value):
            return None
        recent = track.family.kind == "histogram" and slot > self._steps.head - RECENT_S
        return Point(1, value, value, value, value, track.recent(slot) if recent else None)

    def _gathered(self, track: Track, plan: tuple[tuple[int, int], ...], *, buckets: bool) -> Point | None:
        points, histograms = [], []
        for tier, at in plan:
            point = self._second(track, at) if tier == SECONDS else self._kept(tier, track, at)
            if point is not None:
                points.append(point)
                if buckets and point.histogram is not None:
                    histograms.append(point.histogram)
        return _summed(points, histograms if buckets else None)

    def _all(self) -> Iterator[Track]:
        for tracks in self._tracks.values():
            yield from tracks.values()


def _ring(track: Track, tier: int) -> Ring:
    return track.minutes if tier == MINUTES else track.hours


def _summed(points: list[Point], histograms: list[Histogram] | None) -> Point | None:
    if not points:
        return None
    return Point(
        sum(point.n for point in points),
        fsum(point.total for point in points),
        min(point.low for point in points),
        max(point.high for point in points),
        points[-1].last,
        Histogram.summed(histograms) if histograms else None,
    )


def _accepted(labels: Labels, match: Match, unless: Match) -> bool:
    if not match and not unless:
        return True
    have = dict(labels)
    return all(have.get(label, "") in values for label, values in match.items()) and not any(
        have.get(label, "") in values for label, values in unless.items()
    )
