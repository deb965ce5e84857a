"""What holds for all tests."""

import os
import signal
import tempfile
from collections.abc import Iterator, Sequence

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from shotwatch_embedded import lock
from shotwatch_embedded.processes import mark, start_guard
from shotwatch_embedded.services import ONE_THREAD

SHARED = ("running", "url", "world")
"""Fixtures that start something large: the tests that use one of them share it, so one process runs them."""

settings.register_profile(
    "fixed", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "fuzz", settings.get_profile("default"), deadline=None, max_examples=200, print_blob=True
)

for size in ("COLUMNS", "LINES"):
    # a worker of pytest-xdist claims a terminal of 80 columns, which the command line believes at its import
    os.environ.pop(size, None)


def pytest_configure(config: pytest.Config) -> None:
    """Ctrl-C works in the processes that tests start, also when the tests run as a shell's background job.

    Threads that wait for each other on cores that others use take several times the work, and a process that
    may not keep its bytecode compiles us at each start.
    """
    if not config.getoption("--hypothesis-profile"):
        generate_the_same_examples_everywhere()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(ONE_THREAD)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def generate_the_same_examples_everywhere() -> None:
    """Derive the examples of a property test from its source alone; `make fuzz` tries new ones.

    Hypothesis also draws constants that it finds in the source of the imported modules. Which modules are
    imported depends on the tests that ran before, and differs between workers. No setting turns this off.
    """
    settings.load_profile("fixed")
    providers._get_local_constants = Constants


@pytest.fixture(autouse=True)
def logs_go_where_the_next_test_reads() -> Iterator[None]:
    """Forget how a test had logs written: it may have been to a stream of its own, which is closed now."""
    write_plain_logs()
    yield
    structlog.reset_defaults()


def write_plain_logs() -> None:
    """Log tracebacks as Python prints them: structlog's own, with all locals, take up to 2 s of CPU each."""
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Group tests of one process, for pytest-xdist's `--dist loadgroup`: what shares, and each file."""
    for item in items:
        shared = [name for name in SHARED if name in getattr(item, "fixturenames", ())]
        item.add_marker(pytest.mark.xdist_group(shared[0] if shared else item.path.stem))


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """However the tests end, a guard ends the processes that they started."""
    folder = tmp_path_factory.mktemp("guarded")
    held = lock.take(folder)
    assert held is not None
    os.environ.update(mark(folder))
    with start_guard(folder) as _, held:
        yield


@pytest.fixture(scope="module", autouse=True)
def temporary_files_are_private(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Tests that fit networks would import from `/tmp` what another user put there (ADR 23)."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.getbasetemp())
    yield
    tempfile.tempdir = before
