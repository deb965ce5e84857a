"""The column that was probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches

from shotwatch_shots.expressions.tokens import quoted_name

_COMPARED = 80
"""Number of characters of a name that are compared: comparing takes the square of it."""


def suggestion(name: str, columns: Iterable[str]) -> str:
    """Return `; did you mean …?` with the nearest column as an expression writes it, or nothing.

    If none is near, a column is named whose last part this is, such as a feature, or that begins so.
    """
    short = name[:_COMPARED]
    by_lower = {each.lower(): each for each in columns}
    near = [by_lower[each] for each in get_close_matches(short.lower(), by_lower, 1, 0.7)]
    part = (each for each in by_lower.values() if each.rpartition(".")[2] == name)
    begun = (each for each in by_lower.values() if short and each.startswith(short))
    found = next(iter((*near, *part, *begun)), None)
    return "" if found is None else f"; did you mean {quoted_name(found)}?"
