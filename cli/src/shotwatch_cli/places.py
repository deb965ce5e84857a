"""Places of a facility by the names that people give them."""

from collections.abc import Sequence

from shotwatch_common.facility import NO_ARM, Facility, PlaceRoster

from shotwatch_cli.failures import Failure


def named_rosters(facility: Facility, names: Sequence[str], interval: str | None) -> tuple[PlaceRoster, ...]:
    """The rosters of these places (`LA-A1-11`, `LA-A2`), at this interval if one is given.

    Raises:
        Failure: the facility has no such place; the advice lists those it has.
    """
    rosters = [roster for roster in facility.places if interval in (None, roster.interval)]
    by_name = {_name(roster): roster for roster in rosters}
    wanted = [name.removesuffix(f"-{NO_ARM}") for name in names]
    for name in wanted:
        if name not in by_name:
            at = f" at {interval}" if interval else ""
            raise Failure(f"{facility.name} has no place {name}{at}", _known(rosters))
    return tuple(by_name[name] for name in dict.fromkeys(wanted))


def _name(roster: PlaceRoster) -> str:
    return str(roster.place).removesuffix(f"-{NO_ARM}")


def _known(rosters: Sequence[PlaceRoster]) -> str:
    return "it has " + (", ".join(f"{_name(roster)} ({roster.interval})" for roster in rosters) or "none")
