"""The browser of this machine, driven without a window: it draws the report's figures as files, and tests the page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Error, sync_playwright

from chemsieve.errors import ChemsieveError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# No window, and no word to anybody: the page is a local file.
ARGUMENTS = [
    "--no-sandbox",  # which does not start as root, as in a container; the page runs no script but the report's own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def installed() -> str | None:
    """Path of Chromium or Chrome; None where there is neither."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that has started.

    Raises:
        ChemsieveError: there is none, or it does not start.
    """
    path = installed()
    if path is None:
        raise ChemsieveError(f"figures: install Chromium or Google Chrome, so that one of {', '.join(NAMES)} is found")
    with sync_playwright() as driver:
        try:
            started = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error as error:
            raise ChemsieveError(f"figures: {path} does not start: {str(error).splitlines()[0]}") from error
        try:
            yield started
        finally:
            started.close()
