"""A real Chromium, and the sample pages it looks at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.ui.gallery import served


@pytest.fixture(scope="session")
def gallery() -> Iterator[str]:
    with served() as address:
        yield address


class Visit:
    """A page that remembers what the browser complained of."""

    def __init__(self, page: Page, address: str, *, scripts: bool = True) -> None:
        self.page = page
        self.scripts = scripts
        self.address = address
        self.complaints: list[str] = []
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if message.type == "error" else None
            ),
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, name: str) -> Page:
        self.page.goto(f"{self.address}/{name}")
        if self.scripts:
            self.page.wait_for_selector('html[data-scripts="ready"]', state="attached")
        return self.page


@pytest.fixture
def visit(chromium: Browser, gallery: str) -> Iterator[Visit]:
    """A wide window with scripts."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    yield Visit(context.new_page(), gallery)
    context.close()


@pytest.fixture
def phone(chromium: Browser, gallery: str) -> Iterator[Visit]:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    yield Visit(context.new_page(), gallery)
    context.close()


@pytest.fixture
def without_scripts(chromium: Browser, gallery: str) -> Iterator[Visit]:
    context = chromium.new_context(
        viewport={"width": 1440, "height": 900}, java_script_enabled=False
    )
    yield Visit(context.new_page(), gallery, scripts=False)
    context.close()
