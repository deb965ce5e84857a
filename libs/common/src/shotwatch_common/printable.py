"""Text from outside (object keys, device names, states, reasons, notes) in a form that is safe to show."""

import json
import re
from typing import Any

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Unicode's Default_Ignorable_Code_Point as far as `str.isprintable` does not exclude it: joiners, fillers
and variation selectors, which make two names look alike."""


def printable(text: str) -> str:
    r"""Return the text on one line, with every character that cannot be seen written as a Python escape.

    An escape sequence, a line break, a bidirectional mark or a lone surrogate in a name can repaint a
    terminal, forge a line of a log, reverse what is read, or stop the output with an encoding error.
    Escaped are the characters that `str.isprintable` excludes: Unicode's categories Other (control, format,
    surrogate, private, unassigned) and Separator, except the space; and the letters and marks that no font
    draws.

        printable("CAM\x1b[31m\u202e1")  # "CAM\\x1b[31m\\u202e1"

    Printable text is returned unchanged, so the function can be applied twice. A backslash is not doubled.
    """
    if _is_visible(text):
        return text
    return "".join(each if _is_visible(each) else _escaped(each) for each in text)


def printable_lines(text: str) -> str:
    """Return text of several lines, separated by line feeds, with each line made printable."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: object, **options: Any) -> str:
    """Return JSON in visible ASCII that reads back as the same value; `options` are those of `json.dumps`."""
    return json.dumps(value, **options).replace("\x7f", "\\u007f")  # the one control that dumps leaves


def _is_visible(text: str) -> bool:
    return text.isprintable() and (text.isascii() or not _INVISIBLE.search(text))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
