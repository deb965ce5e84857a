"""Dead-lettered messages, as text for people and as JSON for programs."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from shotwatch_cli.output import moment, styled, table
from shotwatch_common.printable import printable
from shotwatch_common.subjects import subject_of
from shotwatch_operations.broker.dead_letter_queue import DeadLetter

_COLUMNS = ("id", "stage", "dead-lettered", "attempts#", "about", "reason", "trace")
_SHOWN_BYTES = 2000


def message_record(message: DeadLetter, with_body: bool = False) -> dict[str, object]:
    """Return a message as JSON; bytes of its body that are not text are replaced."""
    record = {
        "id": message.id,
        "stage": message.stage,
        "dead_lettered_at": message.dead_lettered_at,
        "attempts": message.attempts,
        "object": subject_of(message.body).names or None,
        "reason": message.reason,
        "trace_id": message.trace_id or None,
        "bytes": len(message.body),
    }
    return {**record, "body": _text(message.body)} if with_body else record


def message_table(title: str, messages: Sequence[DeadLetter]) -> Table:
    return table(f"{len(messages)} messages {title}", _COLUMNS, map(_row, messages))


def shown_message(message: DeadLetter) -> Text:
    """Return all that is known of a message, and the beginning of its body."""
    facts = dict(zip(_COLUMNS, _row(message), strict=True))
    lines = [f"{name.removesuffix('#'):10}{printable(str(value))}" for name, value in facts.items()]
    body = _text(message.body[:_SHOWN_BYTES]) + (" …" if len(message.body) > _SHOWN_BYTES else "")
    return styled("\n".join([*lines, f"{'bytes':10}{len(message.body)}", body]))


def _row(message: DeadLetter) -> tuple[object, ...]:
    when = moment(message.dead_lettered_at)
    about = subject_of(message.body).names
    return message.id, message.stage, when, message.attempts, about, message.reason, message.trace_id


def _text(body: bytes) -> str:
    return body.decode(errors="replace")
