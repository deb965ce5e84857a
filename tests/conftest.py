"""What holds for all tests."""

import signal


def pytest_configure() -> None:
    """Ctrl-C works in the processes that tests start, also when the tests run as a shell's background job."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
