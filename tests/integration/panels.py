"""Queries of dashboards, asked as Grafana asks them."""

from collections.abc import Mapping

from tests.unit.test_deploy_dashboards import Asked

from .prometheus import Prometheus
from .waiting import until

OTHERS = {"__rate_interval": "5m", "budget": "1"}


async def shows(prometheus: Prometheus, question: Asked, place: Mapping[str, str]) -> None:
    """Wait until a panel's query has a number."""
    query = filled(question.query, place)

    async def answered() -> bool:
        return any(series["value"][1] != "NaN" for series in await prometheus.query(query))

    await until(answered, f"data in {question.dashboard}: {question.panel}: {query}")


def filled(query: str, place: Mapping[str, str]) -> str:
    """The query with its variables' values."""
    for name, value in {**OTHERS, **place}.items():
        query = query.replace(f"${name}", value)
    return query
