"""The bound on answers that come in pages."""

from shotwatch_client.errors import UnexpectedAnswer

MOST_EMPTY_PAGES = 10_000
"""Maximum number of pages without rows in an answer.

The server ends a page after five seconds with what it has found, so a long search for something rare has
empty pages: this many would take it 14 hours.
"""


def require_few_empty(empty: int, asked: str) -> None:
    """Require that an answer has few pages without rows. Those with rows are bounded by the rows.

    Raises:
        UnexpectedAnswer: it has more than MOST_EMPTY_PAGES.
    """
    if empty > MOST_EMPTY_PAGES:
        raise UnexpectedAnswer(asked, f"more than {MOST_EMPTY_PAGES:,} pages have no rows")
