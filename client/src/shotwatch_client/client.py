"""The client: one method for each thing that a researcher asks for."""

import getpass
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import pandas as pd

from shotwatch_client.columns import read_columns
from shotwatch_client.errors import InvalidArgument
from shotwatch_client.events import Event, new_events, newest_number, stored_events
from shotwatch_client.exports import Exports
from shotwatch_client.facility import DeviceDirectory
from shotwatch_client.recordings import Recorded, Recordings
from shotwatch_client.rest import Rest, Value
from shotwatch_client.searches import SavedSearches
from shotwatch_client.shot_list import ShotList, newest_pages
from shotwatch_client.shot_tables import ShotTable, require_by_value
from shotwatch_client.tables import DEVICES, FEATURES, PLACES, SHOTS, FileBalance, ShotReport, table
from shotwatch_client.times import Time, day_ms, optional_ms, span_ms

VALUES_AT_A_TIME = 200_000
"""Number of feature values in one request; the server allows a million, and one such answer at a time."""
MOST_VALUES = 100_000_000
"""Maximum number of feature values in a table: a day of 100 features at 10 Hz, 0.8 GB."""
MOST_ENERGIES = 500_000
"""Maximum number of shots of which the server smooths the energies at once."""


class ShotwatchClient:
    """A client of the REST API, for notebooks and scripts; use it in a `with` statement, or close it.

    It makes at most four requests at a time, besides event streams. A request that only reads is repeated
    when the connection breaks or the server is too busy. All times are in UTC and have a time zone. Every
    method may raise ShotwatchError, or one of its subclasses.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._devices = DeviceDirectory(rest)
        self.searches = SavedSearches(rest)
        """The searches by value that the owner of the key has saved."""
        self.exports = Exports(rest)
        """Shots and frames as files for other tools."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._rest.close()

    def places(self) -> pd.DataFrame:
        """Return the places that have recorded anything, and what they did last.

        Columns: `place`, `interval`, `recorded_at` (of the newest record), `shot_at` (of the newest judged
        shot), `judged_at`, `shots_per_minute`, `threshold` (from where on a score is an anomaly).
        """
        return table(self._rest.get("/places").rows("places"), PLACES)

    def devices(self) -> pd.DataFrame:
        """Return the devices of the facility.

        Columns: `device` (its name), `kind`, `place`, `interval`, `state` (the last one known), `seen_at`
        (time of the newest record).
        """
        return table(self._rest.get("/devices").rows("devices"), DEVICES)

    def features(self) -> pd.DataFrame:
        """Return what is measured: columns `feature`, `unit`, `description`, `source`, `measured_on`."""
        return table(self._rest.get("/features").rows("features"), FEATURES)

    def shots(
        self,
        place: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        *,
        interval: str | None = None,
        kind: str | None = None,
        min_score: float | None = None,
        complete: bool | None = None,
        newest: int | None = None,
        where: str | None = None,
        columns: Sequence[str] = (),
        derive: Sequence[str] = (),
    ) -> pd.DataFrame:
        """Return the shots of a span of time, oldest first.

        With `where`, `columns` or `derive`, they come from the table of the place, as `ShotTable.shots`
        returns them. Otherwise they have these columns.

        Columns: `shot` (the id), `time` (of the pulse), `place`, `interval`, `revision`, `complete`,
        `missing` (devices without a record), `score` (-log₁₀ of the probability that a normal shot deviates
        as much; NaN if no model scored it), `threshold`, `kinds` (of anomalies), `severity` (of the gravest).

        Args:
            place: a place such as `LA-A1-11`, or the beginning of some: `LA-A1`, `LA`. By default all.
            start: from this time on; by default a day before `end`.
            end: before this time; by default the end of the data.
            interval: sampling period of the recorders, such as `100ms`.
            kind: only shots with an anomaly of this kind, such as `hot_spot`.
            min_score: only shots that were scored this high or higher.
            complete: only complete shots, or only incomplete ones.
            newest: only the newest so many.
            where: an expression such as `score > 4 and 'pointing' in kinds`; see `ShotTable.shots`.
            columns: columns of the table.
            derive: columns to derive, such as `smooth = rolling_mean(score, 20)`.

        Raises:
            InvalidArgument: a time has no time zone, `newest` is below 1, there are more than a million, or
                arguments exclude each other.
            NotAccepted: an expression is wrong, and the error shows where; or the search costs too much.
            ShotwatchError: the server does not answer, or refuses.
        """
        filters: dict[str, Value] = {"kind": kind, "min_score": min_score, "complete": complete}
        if where is not None or columns or derive:
            require_by_value(place=place, newest=newest, **filters)
            of_place = self.table(str(place), interval)
            return of_place.shots(start, end, where=where, columns=columns, derive=derive)
        span = {"from": optional_ms(start, "start"), "to": optional_ms(end, "end")}
        query = {"place": place, "interval": interval, **span, **filters}
        found = [table(page, SHOTS) for page in newest_pages(self._rest, newest, **query)]
        return pd.concat([table([], SHOTS), *found], ignore_index=True)[::-1].reset_index(drop=True)

    def table(self, place: str | Sequence[str], interval: str | None = None) -> ShotTable:
        """Return the table of a place, or one of several: of a list, or of all that begin so (`LA`).

        `interval`, such as `100ms`, is needed if a place has several.
        """
        return ShotTable(self._rest, place, interval)

    def shot(self, shot: str) -> ShotReport:
        """Return everything about one shot: its members, features, anomalies and revisions.

        Raises:
            NoData: there is no such shot, or it has been deleted.
            ShotwatchError: the server does not answer, or refuses.
        """
        return ShotReport.of(self._rest.get(f"/shots/{quote(shot, safe='')}"))

    def frames(self, device: str, start: Time, end: Time) -> Recordings:
        """Return the frames of a camera in the shots of a span: `frames[a:b]` reads (b - a, h, w) counts.

        Raises:
            NoData: there is no such device.
            InvalidArgument: the device is not a camera, or the span does not end after its start.
        """
        return self._recordings(device, "Camera", Recorded.IMAGE, span_ms(start, end))

    def spectra(self, device: str, start: Time, end: Time) -> Recordings:
        """Return the spectra of a spectrometer in the shots of a span: `spectra[a:b]` reads (b - a, samples).

        Each spectrum is a request of its own. Raises as `frames` does.
        """
        return self._recordings(device, "Spectro", Recorded.SPECTRUM, span_ms(start, end))

    def energies(self, device: str, start: Time, end: Time, *, sigma_s: float = 30) -> pd.DataFrame:
        """Return the energies of a meter, by the time of the pulse.

        Columns: `energy` (J), `smoothed` (J; by a Gaussian filter in time, without outliers), `outlier`.

        Args:
            device: name of an energy meter.
            start: from this time on.
            end: before this time; the span has at most half a million shots.
            sigma_s: standard deviation of the filter, in seconds.

        Raises:
            NoData: there is no such device.
            InvalidArgument: the span is not one.
            NotAccepted: the span or the filter is too long.
        """
        span = span_ms(start, end)
        most = min(self._devices.find(device).rows_in(span), MOST_ENERGIES)
        path, names = f"/devices/{quote(device, safe='')}/energy", ("energy", "smoothed", "outlier")
        query: dict[str, Value] = {"from": span[0], "to": span[1], "sigma_s": sigma_s}
        return read_columns(self._rest, path, query, names, most)

    def series(self, device: str, features: str | Sequence[str], start: Time, end: Time) -> pd.DataFrame:
        """Return features of a device by the time of the pulse, a column each; NaN where it has none.

        Long spans are read part by part. `features()` lists the names and the units.

        Raises:
            NoData: there is no such device.
            InvalidArgument: the span is not one, or has more than MOST_VALUES values.
            NotAccepted: there is no such feature.
        """
        names = [features] if isinstance(features, str) else list(dict.fromkeys(features))
        span = span_ms(start, end)
        if not names:
            raise InvalidArgument("features", "none is named", "`features()` lists them")
        about = self._devices.find(device)
        if about.rows_in(span) * len(names) > MOST_VALUES:
            raise InvalidArgument(
                "start, end", f"more than {MOST_VALUES:,} values", "Read fewer features, or a shorter span"
            )
        path = f"/devices/{quote(device, safe='')}/series"
        length = max(VALUES_AT_A_TIME // len(names), 1) * about.period_ms

        def part(first: int) -> pd.DataFrame:
            last = min(first + length, span[1])
            query: dict[str, Value] = {"feature": names, "from": first, "to": last}
            return read_columns(self._rest, path, query, names, about.rows_in((first, last)))

        return pd.concat(self._rest.map(part, range(*span, length)))

    def events(
        self,
        since: int | None = None,
        *,
        follow: bool = True,
        kind: str | None = None,
        severity: str | None = None,
        place: str | None = None,
        interval: str | None = None,
    ) -> Iterator[Event]:
        """Yield anomaly events in the order of their numbers: the stored ones, then new ones as they come.

        No event is missed and none comes twice, also if connections break. If the database of events is
        emptied or restored, the iterator warns with EventsReset and continues after its present end.

        Args:
            since: number of the last event that is known; 0 for all, None for new ones only.
            follow: False ends after the stored events.
            kind: only events of this kind, such as `hot_spot`.
            severity: only `info`, `warning` or `critical` ones.
            place: only events of this place, or of places that begin so.
            interval: only events of this sampling period.
        """
        filters: dict[str, Value] = {"kind": kind, "severity": severity, "place": place, "interval": interval}
        last = newest_number(self._rest) if since is None else since
        last = yield from stored_events(self._rest, last, **filters)
        if follow:
            yield from new_events(self._rest, last, **filters)

    def ledger(self, start: date | Time, end: Time | None = None) -> FileBalance:
        """Return what became of the files that arrived in a span of time, and whether the accounts agree.

        Args:
            start: a day (in UTC) if it is a `date`; else from this time on.
            end: before this time; it is required unless `start` is a day.
        """
        if isinstance(start, date) and not isinstance(start, datetime):
            span = day_ms(start)
        elif end is not None:
            span = span_ms(start, end)
        else:
            raise InvalidArgument("end", "it is missing", "Pass a date for a day, or start and end")
        return FileBalance.of(self._rest.get("/ledger", **{"from": span[0], "to": span[1]}))

    def label(
        self,
        event: Event | str,
        verdict: Literal["confirmed", "false"],
        comment: str = "",
        *,
        kind: str | None = None,
        who: str | None = None,
    ) -> None:
        """Report whether an event was right; training uses it. The newest verdict on an incident counts.

        The request is sent once: after NotReachable, `shot(event.shot)` and the page show whether it arrived.

        Args:
            event: the event, or its id.
            verdict: `confirmed`, or `false` for a false alarm.
            comment: why; at most 2,000 characters.
            kind: what it really was, if it is confirmed; by default the kind of the event.
            who: your name; by default that of the login.

        Raises:
            NotPermitted: the key lacks the scope `label`.
            NoData: there is no such event.
            NotAccepted: an argument is not valid, or the incident has too many statements.
        """
        identity = event.id if isinstance(event, Event) else event
        body: dict[str, object] = {"action": verdict, "who": who or getpass.getuser(), "note": comment}
        if kind is not None:
            body["label"] = kind
        self._rest.post(f"/events/{quote(identity, safe='')}/feedback", body)

    def _recordings(self, device: str, kind: str, recorded: Recorded, span: tuple[int, int]) -> Recordings:
        about = self._devices.find(device)
        if about.kind != kind:
            raise InvalidArgument("device", f"{device} is of the kind {about.kind}, not {kind}")
        return Recordings(
            self._rest, device, recorded, ShotList(self._rest, about.place, about.interval, span)
        )
