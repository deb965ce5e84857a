"""Places as filters of queries."""

from shotwatch_shots.place import Place


def within(area: Place, levels: int) -> str | dict[str, str]:
    """Return the filter for places within an area, for the field that holds the place.

    Args:
        area: a place, or its first levels.
        levels: number of levels of a place of the facility.
    """
    if len(area.levels) == levels:
        return str(area)
    return {"$gte": f"{area}-", "$lt": f"{area}."}  # "." is the character after "-"
