"""What a search of tables may cost: it is refused before it begins if it would cost more."""

from shotwatch_common.tables.aggregation import MOST_VALUES
from shotwatch_common.tables.parquet import ROWS_PER_GROUP
from shotwatch_common.tables.search import TableSearch
from shotwatch_query.domain.pages import DAY_MS, Span
from shotwatch_query.errors import BadRequest
from shotwatch_query.expressions import TableQuestion
from shotwatch_query.reservation import Reservation
from shotwatch_query.shot_tables import TablePlan
from shotwatch_shots.expressions.aggregates import AggregatePeriod

MOST_READ = 300_000_000
"""Maximum number of values that a search reads to find its rows: 30 days of a place at 10 Hz, 11 columns."""
MOST_DAYS = 400
"""Maximum length of the span that is searched."""
MOST_RETURNED = 2_000_000
"""Maximum number of values in a response."""
MOST_PERIODS = 50_000
"""Maximum number of rows of aggregates: a month of minutes."""
BYTES_PER_VALUE = 16
"""Memory per value of a table while it is read, with its copy."""


def require_few_days(span: Span) -> None:
    """Require a span of at most MOST_DAYS: there is a manifest to read for each day.

    Raises:
        BadRequest: it is longer.
    """
    if span.end - span.start > MOST_DAYS * DAY_MS:
        raise BadRequest(f"from, to: more than {MOST_DAYS} days; ask for a shorter span")


def require_affordable(plan: TablePlan, question: TableQuestion, every: AggregatePeriod) -> None:
    """Require that a search reads no more than the limits.

    Raises:
        BadRequest: it does; the message names the numbers and what to ask for instead.
    """
    values = plan.rows * (len(plan.search.inputs) + question.window_values)
    if values > MOST_READ:
        raise BadRequest(
            f"from, to: {plan.rows:,} shots would be searched and {values:,} values read, more than "
            f"{MOST_READ:,}; ask for a shorter span, fewer columns in expressions, or shorter windows"
        )
    if question.aggregates:
        _require_few_periods(plan.search, question, every)


def _require_few_periods(search: TableSearch, question: TableQuestion, every: AggregatePeriod) -> None:
    period = every.length_ms
    if (search.end_ms - search.start_ms) // period > MOST_PERIODS:
        raise BadRequest(f"from, to: more than {MOST_PERIODS:,} periods; ask for longer ones by `every`")
    if period // search.period_ms * (1 + len(question.aggregates)) > MOST_VALUES:
        raise BadRequest(f"aggregate: a {every} would have more than {MOST_VALUES:,} values; ask for fewer")


async def reserve(room: Reservation, plan: TablePlan, question: TableQuestion, limit: int) -> None:
    """Reserve the memory for the part that is read, and for the response or the values of a period."""
    held = MOST_VALUES // 2 if question.aggregates else 4 * limit * len(question.columns)
    columns = len(question.columns) + len(plan.search.inputs)
    await room.bytes(BYTES_PER_VALUE * (ROWS_PER_GROUP * columns + held))
