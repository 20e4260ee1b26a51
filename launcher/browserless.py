"""A visitor without a browser: forms and cookies over plain HTTP to our own loopback address."""

from __future__ import annotations

import http.client
import re
import urllib.parse
from dataclasses import dataclass
from html import unescape

CSRF_FIELD = re.compile(r'name="csrfmiddlewaretoken"\s+value="([^"]+)"')


@dataclass(frozen=True)
class Answer:
    status: int
    url: str
    text: str


class Visitor:
    """Keeps cookies (also Secure ones: loopback counts as trustworthy) and follows redirects."""

    def __init__(self, origin: str) -> None:
        parts = urllib.parse.urlsplit(origin)
        self.host, self.port, self.origin = parts.hostname or "", parts.port or 80, origin
        self.cookies: dict[str, str] = {}

    def get(self, path: str) -> Answer:
        return self._request("GET", path)

    def submit(self, page: Answer, fields: dict[str, str], *, path: str = "") -> Answer:
        """Post ``fields`` with the CSRF token that ``page`` carries."""
        token = CSRF_FIELD.search(page.text)
        if token is not None:
            fields = {"csrfmiddlewaretoken": unescape(token[1]), **fields}
        return self._request("POST", path or page.url, urllib.parse.urlencode(fields))

    def _request(self, method: str, path: str, body: str | None = None, hops: int = 5) -> Answer:
        parts = urllib.parse.urlsplit(path)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if body is not None:
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": self.origin,
                "Referer": self.origin + target,
            }
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        finally:
            connection.close()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        location = response.headers.get("Location")
        if response.status in (301, 302, 303) and location and hops:
            return self._request("GET", location, hops=hops - 1)
        return Answer(response.status, target, text)
