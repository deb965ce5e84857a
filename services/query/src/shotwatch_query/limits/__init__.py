"""How much of this process one caller, and all of them together, may take up.

Each replica limits by itself: N replicas behind one address give a caller up to N times as much.
"""

from dataclasses import dataclass
from typing import Self

from shotwatch_query.limits.memory import Memory
from shotwatch_query.limits.rates import Rates
from shotwatch_query.settings import QuerySettings


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that requests share."""

    callers: Rates
    """How often a known caller may ask, by name."""
    strangers: Rates
    """How often an address may ask without a valid key or token."""
    memory: Memory
    """What answers that are being made may take."""

    @classmethod
    def of(cls, settings: QuerySettings) -> Self:
        return cls(
            Rates(settings.query_requests_per_second, "SHOTWATCH_QUERY_REQUESTS_PER_SECOND"),
            Rates(settings.query_strangers_per_second, "SHOTWATCH_QUERY_STRANGERS_PER_SECOND"),
            Memory(),
        )
