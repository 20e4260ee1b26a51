"""Fixtures that more than one folder of tests uses: real servers and foreign correspondents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from launcher.dovecot import Dovecot
from launcher.foreign import ForeignAuthority
from tests.support.servers import running_dovecot, running_redis

ALICE = "alice@acme.example"
BOB = "bob@acme.example"
MALLORY = "mallory@acme.example"


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """One private Dovecot for the whole run, with mailboxes for the cast."""
    with running_dovecot(ALICE, BOB, MALLORY) as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless; one for the whole run."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """The address of one private Redis for the whole run."""
    with running_redis() as address:
        yield address


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> ForeignAuthority:
    """An outside certification authority run by the openssl program."""
    folder: Path = tmp_path_factory.mktemp("outside")
    return ForeignAuthority(folder, "Lighthouse Trust Services").create()
