"""Pages laid over pages: a mail over our own lines in print, the editor inside a foreign site."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.conf import settings
from playwright.sync_api import Browser
from whitenoise import WhiteNoise

from webmail.message import html
from webmail.reading import frame

pytestmark = pytest.mark.browser

LINES = [("From", "Mallory <mallory@evil.example>"), ("Proof", "Not signed")]

OVER = "margin-top:-400px;height:800px;width:100%;background:#fff"
OVERLAYS = [
    f'<div style="opacity:.99;{OVER}">Signed by Bob Builder</div>',
    f'<p>x</p><div style="{OVER};opacity:.9;margin-left:-90px">Signed</div>',
    f'<div style="float:left;opacity:.99;{OVER}">Signed</div>',
    f'<span style="display:inline-block;vertical-align:top;{OVER}">Signed</span>',
    f'</div></dl></body><div style="opacity:.99;{OVER}">Signed</div>',
]
"""A stacking context or a thing within a line is drawn over the text that stands before it."""

ON_TOP = """() => [...document.querySelectorAll(".mail-print dd")].slice(0, 2).map(line => {
  const box = line.getBoundingClientRect();
  const found = document.elementFromPoint(box.left + 5, box.top + box.height / 2);
  return found === line; })"""


def lines_on_top(chromium: Browser, document: str) -> list[bool]:
    page = chromium.new_page()
    page.set_content(document)
    found: list[bool] = page.evaluate(ON_TOP)
    page.close()
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_printed_mail_cannot_cover_who_wrote_it(chromium: Browser, overlay: str) -> None:
    document = frame.print_document(LINES, [html.sanitise(overlay), html.sanitise(overlay)])
    assert lines_on_top(chromium, document) == [True, True]
    bare = document.replace("contain: paint;", "").replace("overflow: hidden;", "")
    assert lines_on_top(chromium, bare) != [True, True], "the control: it is the box that holds it"


class Threaded(ThreadingMixIn, WSGIServer):
    """A browser opens connections that it does not use yet."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_arguments: Any) -> None:
        pass


FRAMES = """<!doctype html><script>
window.heard = [];
addEventListener("message", event => heard.push([event.origin, event.data.type]));
</script><iframe src="{editor}"{attribute}></iframe>"""


@pytest.fixture
def site() -> Iterator[Callable[..., str]]:
    """The static files as they are deployed, and pages beside them that show the editor."""
    pages: dict[str, bytes] = {}

    def page(environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/html")])
        return [pages.get(environ["PATH_INFO"], b"")]

    files = WhiteNoise(
        page,
        settings.BASE_DIR / "webmail" / "static",
        prefix="static/",
        add_headers_function=settings.WHITENOISE_ADD_HEADERS_FUNCTION,
        allow_all_origins=settings.WHITENOISE_ALLOW_ALL_ORIGINS,
    )
    server = make_server("127.0.0.1", 0, files, Threaded, Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"127.0.0.1:{server.server_port}"

    def show(*, host: str, attribute: str = "") -> str:
        """The address of a page on ``host`` that shows the editor."""
        path = f"/{len(pages)}"
        editor = f"http://{origin}/static/editor/frame.html"
        pages[path] = FRAMES.format(editor=editor, attribute=attribute).encode()
        return f"http://{host}:{server.server_port}{path}"

    yield show
    server.shutdown()
    server.server_close()


def heard(chromium: Browser, address: str) -> list[list[str]]:
    page = chromium.new_page()
    page.goto(address)
    page.wait_for_timeout(800)
    found: list[list[str]] = page.evaluate("heard")
    page.close()
    return found


def test_the_editor_has_no_origin_and_no_foreign_page_may_show_it(
    chromium: Browser, site: Callable[..., str]
) -> None:
    ours = site(host="127.0.0.1", attribute=' sandbox="allow-scripts"')
    assert heard(chromium, ours) == [["null", "sealpost-editor"]]
    # Without the attribute too: the file's own policy takes the origin away.
    assert heard(chromium, site(host="127.0.0.1")) == [["null", "sealpost-editor"]]
    assert heard(chromium, site(host="localhost")) == []


def test_a_static_file_is_no_page_and_is_given_to_no_other_site(
    chromium: Browser, site: Callable[..., str]
) -> None:
    root = site(host="127.0.0.1").rpartition("/")[0]
    page = chromium.new_page()
    answer = page.goto(f"{root}/static/icons/favicon.svg")
    assert answer is not None
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "access-control-allow-origin" not in answer.headers
    assert page.evaluate("origin") == "null"
    page.close()
