"""Messages with properties that Python cannot represent: a date of the year 300,000, text that is not UTF-8.

The broker passes such properties on unread. pamqp raises an error for them, and aiormq then closes the
connection (https://github.com/mosquito/aiormq). The broker delivers the message again, which ends the next
connection, too, and with it all other deliveries. So pamqp gets decoders here that raise no error.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from pamqp import decode
from pamqp.common import FieldTable

UNDECODABLE_HEADER = "x-shotwatch-undecodable"
"""Why the headers of a message could not be decoded. It stands in place of them."""
_LONGEST_REASON = 200


def short_text(value: bytes) -> tuple[int, str]:
    r"""Return the number of bytes of a short string, and the string; `\xff` for what is not UTF-8.

    Short strings are most properties, the names of exchanges, and routing keys.
    """
    length = int.from_bytes(value[:1]) + 1
    return length, value[1:length].decode(errors="backslashreplace")


def time(value: bytes) -> tuple[int, datetime | None]:
    """Return the number of bytes of a time, and the time; None if it is not within the years 1 to 9999."""
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, None


def headers(value: bytes) -> tuple[int, FieldTable]:
    """Return the number of bytes of a table, and the table; only UNDECODABLE_HEADER if it cannot be decoded.

    Then nothing that stood in them is known, such as the way of the message: a consumer refuses it.
    """
    try:
        return decode.field_table(value)
    except (ValueError, ArithmeticError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
        return 4 + int.from_bytes(value[:4]), {UNDECODABLE_HEADER: reason}


def undecodable(known: Mapping[str, object]) -> str | None:
    """Return why the headers of a message could not be decoded; None if they could."""
    return cast(str | None, known.get(UNDECODABLE_HEADER))


decode.METHODS.update(shortstr=short_text, timestamp=time, table=headers)
decode.TABLE_MAPPING[b"T"] = time
