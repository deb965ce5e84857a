"""Limits on the resources of this process that one caller, and all of them together, may use.

Each replica has its own limits: N replicas behind one address allow a caller up to N times as much.
"""

from dataclasses import dataclass
from typing import Self

from shotwatch_query.limits.memory import Memory
from shotwatch_query.limits.rates import Rates
from shotwatch_query.limits.searches import Searches
from shotwatch_query.settings import QuerySettings


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that requests share."""

    callers: Rates
    """The request rate of known callers, by name."""
    strangers: Rates
    """The request rate of addresses without a valid key or token."""
    memory: Memory
    """The memory for responses that are being made."""
    searches: Searches
    """The searches of tables, by caller."""

    @classmethod
    def of(cls, settings: QuerySettings) -> Self:
        return cls(
            Rates(settings.query_requests_per_second, "SHOTWATCH_QUERY_REQUESTS_PER_SECOND"),
            Rates(settings.query_strangers_per_second, "SHOTWATCH_QUERY_STRANGERS_PER_SECOND"),
            Memory(),
            Searches(),
        )
