"""What a search of tables may cost: it is refused before it begins if it would cost more."""

from collections.abc import Sequence

from shotwatch_query.domain.pages import Span
from shotwatch_query.errors import BadRequest
from shotwatch_query.reservation import Reservation
from shotwatch_query.routes.tables.places import PlaceSearch
from shotwatch_query.shot_tables import FILES_AHEAD
from shotwatch_shots.durations import DAY_MS
from shotwatch_shots.expressions.aggregates import AggregatePeriod
from shotwatch_tables.aggregation import MOST_VALUES

MOST_READ = 300_000_000
"""Maximum number of values that a search reads to find its rows: 30 days of a place at 10 Hz, 11 columns."""
MOST_DAYS = 400
"""Maximum length of the span that is searched, all places together."""
MOST_RETURNED = 2_000_000
"""Maximum number of values in a response."""
MOST_PERIODS = 50_000
"""Maximum number of rows of aggregates: a month of minutes."""
BYTES_PER_VALUE = 16
"""Memory per value of a table while it is read, with its copy."""


def require_few_days(span: Span, places: int) -> None:
    """Require a span of at most MOST_DAYS for all places: there is a manifest to read for each day.

    Raises:
        BadRequest: it is longer.
    """
    if (span.end - span.start) * places > MOST_DAYS * DAY_MS:
        of_places = f" of {places} places" if places > 1 else ""
        most = MOST_DAYS // places
        raise BadRequest(f"from, to: more than {most} days{of_places}; ask for a shorter span")


def require_affordable(searches: Sequence[PlaceSearch], every: AggregatePeriod) -> None:
    """Require that a search reads no more than the limits.

    Raises:
        BadRequest: it does; the message names the numbers and what to ask for instead.
    """
    rows = sum(each.plan.rows for each in searches)
    values = sum(
        each.plan.rows * (len(each.plan.search.inputs) + each.question.window_values) for each in searches
    )
    if values > MOST_READ:
        raise BadRequest(
            f"from, to: {rows:,} shots would be searched and {values:,} values read, more than "
            f"{MOST_READ:,}; ask for a shorter span, fewer columns in expressions, or shorter windows"
        )
    for each in searches:
        if each.question.aggregates:
            _require_few_periods(each, every, len(searches))


def _require_few_periods(one: PlaceSearch, every: AggregatePeriod, places: int) -> None:
    period, search = every.length_ms, one.plan.search
    if (search.end_ms - search.start_ms) // period * places > MOST_PERIODS:
        raise BadRequest(f"from, to: more than {MOST_PERIODS:,} periods; ask for longer ones by `every`")
    if period // search.period_ms * (1 + len(one.question.aggregates)) > MOST_VALUES:
        raise BadRequest(f"aggregate: a {every} would have more than {MOST_VALUES:,} values; ask for fewer")


async def reserve(room: Reservation, searches: Sequence[PlaceSearch], limit: int) -> None:
    """Reserve the memory for the parts that are read, and for the response or the values of a period."""
    question = searches[0].question
    held = MOST_VALUES // 2 if question.aggregates else 4 * limit * len(question.columns)
    columns = len(question.columns) + (1 + FILES_AHEAD) * len(searches[0].plan.search.inputs)
    rows = max(each.plan.rows_at_once for each in searches)
    await room.bytes(BYTES_PER_VALUE * (rows * columns + held))
