"""External text (object keys, device names, states, reasons, notes) in a form that is safe to display."""

import json
import re
import unicodedata
from typing import Any

_BLANK_NAMES = re.compile(r"\b(BLANK|FILLER|INHERENT|JOINER|NULL|SELECTOR)\b")
"""Words in the Unicode names of characters that are assigned, printable according to Python, and invisible.

They cover all of Default_Ignorable_Code_Point that `str.isprintable` does not exclude (joiners, fillers,
inherent vowels, variation selectors), and characters that fonts leave blank, such as BRAILLE PATTERN BLANK. A
few visible characters (SYMBOL FOR NULL, fillers of gaps in lines) have such names, too.
"""

_MARKS = frozenset({"Mn", "Me"})
"""Unicode's categories of marks that are drawn over the character before them."""
_MOST_MARKS = 4
"""Maximum number of such marks in a row. Hebrew needs four: a dot of shin, dagesh, vowel and accent."""


def printable(text: str) -> str:
    r"""Return the text on one line, with every invisible character written as a Python escape.

    An escape sequence, a line break, a bidirectional mark or a lone surrogate in a name can repaint a
    terminal, forge a line of a log, reverse the displayed text, or stop the output with an encoding error.
    The function escapes the characters that `str.isprintable` excludes: Unicode's categories Other (control,
    format, surrogate, private, unassigned) and Separator, except the space. It also escapes characters whose
    Unicode name indicates that they are blank, because two names that differ only in these appear identical.
    Of combining marks on one character, the first four stay: a taller stack covers the lines around it.

        printable("CAM\x1b[31m\u202e1")  # "CAM\\x1b[31m\\u202e1"

    Printable text is returned unchanged, so the function can be applied twice. A backslash is not doubled.
    """
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], 0
    for each in text:
        marks = marks + 1 if unicodedata.category(each) in _MARKS else 0
        shown.append(each if _is_visible(each) and marks <= _MOST_MARKS else _escaped(each))
    return "".join(shown)


def printable_lines(text: str) -> str:
    """Return text of several lines, separated by line feeds, with each line made printable."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: object, **options: Any) -> str:
    """Return JSON in visible ASCII that parses to the same value; `options` are those of `json.dumps`."""
    return json.dumps(value, **options).replace("\x7f", "\\u007f")  # dumps leaves only this control


def _is_visible(character: str) -> bool:
    return character.isprintable() and not _BLANK_NAMES.search(unicodedata.name(character, ""))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
