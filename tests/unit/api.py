"""The REST API in memory: the app, with what a test puts behind it."""

from dataclasses import MISSING, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
from starlette.types import ASGIApp

from shotwatch_common.archive.audit import Audit
from shotwatch_common.archive.driver import Database
from shotwatch_common.facility_file import load_facility
from shotwatch_query.access import Access, Caller
from shotwatch_query.access.refusals import Refusals
from shotwatch_query.headers import Guarded
from shotwatch_query.limits import Limits
from shotwatch_query.limits.memory import Memory
from shotwatch_query.limits.rates import Rates
from shotwatch_query.limits.searches import Searches
from shotwatch_query.service import create_app
from shotwatch_query.sources import ApiSources
from tests.support.database import DatabaseInMemory

FACILITY = load_facility(Path(__file__).parents[2] / "facilities" / "hpls.yaml")
BASE = "http://127.0.0.1:8000"


class Acquaintance:
    """Knows everybody who shows something, as a caller with these scopes."""

    required = True

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def caller(self, _credential: str | None) -> Caller:
        return self._caller


def limits(callers: float = 1e6, strangers: float = 1e6) -> Limits:
    """So many requests a second, of a caller and of a stranger's address. No time passes for these limits."""

    def clock() -> float:
        return 0.0

    return Limits(
        Rates(callers, "CALLERS", clock), Rates(strangers, "STRANGERS", clock), Memory(), Searches()
    )


def sources(database: DatabaseInMemory | None = None, **given: Any) -> ApiSources:
    """What the routes read from: open to all and without limits, unless a test overrides it."""
    audit = Audit(Database(DatabaseInMemory() if database is None else database))
    defaults = {
        "access": Access(),
        "archive": SimpleNamespace(audit=audit),
        "facility": FACILITY,
        "limits": limits(),
        "refusals": Refusals(audit),
    }
    nothing = dict.fromkeys(field.name for field in fields(ApiSources) if field.default_factory is MISSING)
    return ApiSources(**cast(Any, {**nothing, **defaults, **given}))


def served(behind: ApiSources) -> ASGIApp:
    """The app as the service runs it."""
    return Guarded(create_app(behind))


def client(behind: ApiSources, **more: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(served(behind), raise_app_exceptions=False)
    return httpx.AsyncClient(**{"transport": transport, "base_url": BASE, **more})
