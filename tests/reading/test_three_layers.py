"""Sanitiser, policy of the body's response, sandbox of the frame: a real browser shows that each
alone stops what hit other webmail programs, and that without any of them it does happen."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Route

from tests.message.payloads import PAYLOADS
from webmail.message import html
from webmail.reading import frame

pytestmark = pytest.mark.browser

SANDBOX = 'sandbox="allow-popups allow-popups-to-escape-sandbox"'

ATTACK = "parent.postMessage(1,String.fromCharCode(42))"
"""What ``attack()`` does here: no quotes and no blanks, so that it fits into every payload."""

PAGE = """<!doctype html><title>mail</title>
<script>window.attacks = []; addEventListener("message", e => {{
  for (const f of document.querySelectorAll("iframe"))
    if (f.contentWindow === e.source) attacks.push(f.name); }});</script>{frames}"""


class Handler(BaseHTTPRequestHandler):
    """``/<layer>/`` is a page with one frame per payload, ``/<layer>/<number>`` its document."""

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        layer, _slash, number = self.path.strip("/").partition("/")
        if number and not number.isdigit():
            self.send_error(404)
            return
        if number:
            payload = list(PAYLOADS.values())[int(number)].replace("attack()", ATTACK)
            document = f"<!doctype html><body>{payload}"
            if layer == "sanitiser":
                document = html.document(html.sanitise(payload))
        else:
            attribute = SANDBOX if layer == "sandbox" else ""
            document = PAGE.format(
                frames="".join(
                    f'<iframe {attribute} name="{name}" src="/{layer}/{index}"></iframe>'
                    for index, name in enumerate(PAYLOADS)
                )
            )
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        if layer == "policy" and number:
            self.send_header("Content-Security-Policy", frame.policy())
        self.end_headers()
        self.wfile.write(document.encode())


@dataclass
class Seen:
    attacks: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def visit(chromium: Browser, address: str, layer: str) -> Seen:
    seen = Seen()
    context = chromium.new_context()

    def refuse(route: Route) -> None:
        seen.requests.append(route.request.url)
        route.abort()

    context.route(re.compile("evil"), refuse)
    page = context.new_page()
    page.goto(f"{address}/{layer}/")
    page.wait_for_timeout(1500)
    seen.attacks = set(page.evaluate("attacks"))
    context.close()
    return seen


def test_without_any_layer_the_attacks_do_work(chromium: Browser, address: str) -> None:
    seen = visit(chromium, address, "bare")
    assert len(seen.attacks) > 20
    assert {"script", "image error", "svg load", "comment short"} <= seen.attacks
    assert len(seen.requests) > 15


def test_the_sanitiser_alone_stops_scripts_and_loading(chromium: Browser, address: str) -> None:
    assert visit(chromium, address, "sanitiser") == Seen()


def test_the_policy_alone_stops_scripts_and_loading(chromium: Browser, address: str) -> None:
    seen = visit(chromium, address, "policy")
    assert seen.attacks == set()
    # A page may still send itself elsewhere; the request then tells what a click would tell.
    allowed = {"meta refresh"}
    sources = {name for name in PAYLOADS for url in seen.requests if url in PAYLOADS[name]}
    assert sources <= allowed, seen.requests


def test_the_sandbox_alone_stops_scripts(chromium: Browser, address: str) -> None:
    assert visit(chromium, address, "sandbox").attacks == set()
