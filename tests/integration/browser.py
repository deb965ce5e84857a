"""Debian's Chromium, without a window. Playwright's own browsers are not needed."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from tests.installing import alone

PACKAGE = "chromium"


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A browser that keeps nothing."""
    async with async_playwright() as playwright:
        # its sandbox refuses to run as root, which containers often are
        options = {"executable_path": _chromium(), "chromium_sandbox": os.geteuid() != 0}
        started = await playwright.chromium.launch(**options)
        try:
            yield started
        finally:
            await started.close()


def _chromium() -> str:
    """Where Chromium is; installed where it is not and we may."""
    with alone():
        if not shutil.which(PACKAGE) and os.geteuid() == 0:
            for arguments in (("update",), ("install", "-y", "--no-install-recommends", PACKAGE)):
                subprocess.run(["apt-get", "-q", *arguments], stdin=subprocess.DEVNULL)
    found = shutil.which(PACKAGE)
    assert found, f"there is no {PACKAGE}: run `sudo apt-get install {PACKAGE}`"
    return found
