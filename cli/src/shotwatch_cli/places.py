"""Places of a facility by their names on the command line."""

from collections.abc import Sequence

from shotwatch_cli.failures import Misuse
from shotwatch_shots.facility import ExpectedDevices, Facility
from shotwatch_shots.place import NO_LEVEL, Place


def named_places(
    facility: Facility, names: Sequence[str], interval: str | None = None
) -> tuple[ExpectedDevices, ...]:
    """Return the named places (`LA-A1-11`) with their expected devices, at this interval if one is given.

    Raises:
        Misuse: the facility has no such place; the advice lists those it has.
    """
    wanted = {_short(name) for name in names}
    recorded = [expected for expected in facility.places if interval in (None, expected.interval)]
    if unknown := wanted - set(map(_name, recorded)):
        at = f" at {interval}" if interval else ""
        raise Misuse(f"{facility.name} has no place {', '.join(sorted(unknown))}{at}", _known(recorded))
    return tuple(expected for expected in recorded if _name(expected) in wanted)


def places_within(facility: Facility, name: str | None) -> tuple[ExpectedDevices, ...]:
    """Return the places that are, or begin with, a name (`LA-A1-11`, `LA-A1`), with their expected devices.

    Without a name, return all places of the facility.

    Raises:
        Misuse: the facility has no such place; the advice lists those it has.
    """
    try:
        area = None if name is None else Place.parse(name)
    except ValueError as error:
        raise Misuse(str(error), _known(facility.places)) from error
    found = tuple(each for each in facility.places if area is None or each.place.is_within(area))
    if not found:
        raise Misuse(f"{facility.name} has no place {name}", _known(facility.places))
    return found


def _name(expected: ExpectedDevices) -> str:
    return _short(str(expected.place))


def _short(name: str) -> str:
    return name.removesuffix(f"-{NO_LEVEL}")


def _known(all_expected: Sequence[ExpectedDevices]) -> str:
    return "it has " + (
        ", ".join(f"{_name(expected)} ({expected.interval})" for expected in all_expected) or "none"
    )
