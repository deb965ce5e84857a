"""Places as conditions of queries."""

from typing import Any

from shotwatch_shots.place import Place


def within(area: Place, levels: int) -> Any:
    """Return the condition that the field of a place must meet to lie within the area.

    Args:
        area: a place, or the beginning of one.
        levels: how many a place of the facility has.
    """
    if len(area.levels) == levels:
        return str(area)
    return {"$gte": f"{area}-", "$lt": f"{area}."}  # "." is the character after "-"
