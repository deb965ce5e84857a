"""The clock of this machine, in the unit of records."""

from time import time

from shotwatch_shots.facility import Facility


def epoch_now() -> int:
    """Return the current time in epoch milliseconds."""
    return round(time() * 1000)


def latest_record_ms(facility: Facility) -> int:
    """Return the latest plausible time of a record now (epoch ms), since recorders' clocks may be ahead."""
    return epoch_now() + round(facility.clock_skew_s * 1000)
