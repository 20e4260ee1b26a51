"""Serves the samples with the headers of the real site, so that a browser judges them as it would.

``python -m tests.environment python -m tests.ui.gallery`` shows them on port 8765.
"""

from __future__ import annotations

import http.server
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django.conf import settings
from django.template.loader import render_to_string
from django.test import RequestFactory, override_settings
from django.urls import set_urlconf
from django.utils import translation

from tests.ui.samples import PAGES

STATIC: Final = Path(__file__).resolve().parents[2] / "webmail" / "static"
BODY: Final = b"""<!doctype html><title>Mail</title><body style="font-family:sans-serif">
<h1 style="color:#a33">Offer</h1><p>Sent as HTML. <a href="https://example.org" target="_blank"
rel="noopener">A link</a></p><table border="1"><tr><td>1</td><td>2</td></tr></table>"""

PLAIN_STORAGES: Final = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}


def policy() -> str:
    """The site's Content-Security-Policy as a header value."""
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    return "; ".join(f"{name} {' '.join(values)}" for name, values in directives.items())


def render(name: str, *, language: str = "en") -> str:
    """The HTML of one sample."""
    template, context = PAGES[name]
    request = RequestFactory().get("/mail/1/")
    request.user = context().get("user")  # type: ignore[assignment]
    set_urlconf(settings.ROOT_URLCONF)
    with translation.override(language), override_settings(STORAGES=PLAIN_STORAGES):
        return str(render_to_string(template, {**context(), "request": request}))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, _, _query = self.path.partition("?")
        if path.startswith("/static/"):
            file = STATIC / path.removeprefix("/static/")
            if not file.is_file():
                return self._send(404, b"", "text/plain")
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            return self._send(200, file.read_bytes(), kind, {"Access-Control-Allow-Origin": "*"})
        if path == "/sample-body/":
            sandbox = "sandbox allow-popups; default-src 'none'; style-src 'unsafe-inline'"
            return self._send(200, BODY, "text/html", {"Content-Security-Policy": sandbox})
        if path == "/mail/1/2/":  # a mail that the server fails at
            return self._send(500, render("500").encode(), "text/html; charset=utf-8")
        name, _, language = path.strip("/").partition("/")
        if name not in PAGES or language not in ("", *dict(settings.LANGUAGES)):
            return self._send(204, b"", "text/plain")
        page = render(name, language=language or "en").encode()
        return self._send(
            200, page, "text/html; charset=utf-8", {"Content-Security-Policy": policy()}
        )

    def do_POST(self) -> None:
        self._send(204, b"", "text/plain")

    def _send(
        self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def served(port: int = 0) -> Iterator[str]:
    """The gallery on a free port; yields its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    import django

    django.setup()
    with served(8765) as address:
        print("\n".join(f"{address}/{name}" for name in PAGES), flush=True)
        threading.Event().wait()
