"""The devices of the facility, as requests need them."""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from shotwatch_client.answer import Answer
from shotwatch_client.errors import NoData, UnexpectedAnswer
from shotwatch_client.rest import Rest


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device, with the place and the sampling period of its shots."""

    kind: str
    place: str
    interval: str
    period_ms: int

    def rows_in(self, span: tuple[int, int]) -> int:
        """Return the maximum number of its shots in a span of time (epoch ms)."""
        return (span[1] - span[0]) // self.period_ms + 1


class DeviceDirectory:
    """The devices of the facility by name, requested once."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def find(self, name: str) -> KnownDevice:
        """Return a device.

        Raises:
            NoData: the facility has none of this name.
            ShotwatchError: the server does not answer, or refuses.
        """
        if name not in self._known:
            close = ", ".join(get_close_matches(name, self._known))
            advice = f"Similar names: {close}" if close else "`devices()` lists them"
            raise NoData(f"device {name}", "the facility has none of this name", advice)
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, KnownDevice]:
        facility = self._rest.get("/facility")
        periods = {each.text("name"): each.whole("period_ms") for each in facility.rows("intervals")}
        return {
            device.text("device"): KnownDevice(
                device.text("kind"),
                place.text("place"),
                place.text("interval"),
                _period(facility, periods, place.text("interval")),
            )
            for place in facility.rows("places")
            for device in place.rows("devices")
        }


def _period(facility: Answer, periods: dict[str, int], interval: str) -> int:
    period = periods.get(interval, 0)
    if period <= 0:
        raise UnexpectedAnswer(facility.asked, f"the interval {interval} has no period")
    return period
