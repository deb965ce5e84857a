"""What holds for all tests."""

import signal

from hypothesis import settings


def pytest_configure() -> None:
    """Ctrl-C works in the processes that tests start, also when the tests run as a shell's background job.

    How long an example takes is no claim of a test.
    """
    settings.register_profile("no timings", deadline=None)
    settings.load_profile("no timings")
    signal.signal(signal.SIGINT, signal.default_int_handler)
