"""What opening a mail costs through HTTP, from the request to the last byte of the page.

The whole system is started as the demo does; a signed-in browser opens a 2 KB mail that is signed
and encrypted again and again; the reference is a plain mail of the same size.
"""

from __future__ import annotations

import http.client
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import WIDTH, say
from launcher.browserless import Visitor
from launcher.demo import ALICE, PASSWORD, Demo
from launcher.demo_mail import DemoMail, compose
from launcher.foreign import smime
from launcher.ports import free_ports

ROUNDS = 200
WARM_UP = 10
OPEN_LIMIT_MS = 30.0
MAIL_BYTES = 2048
CALLER = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}


class Reader:
    """A signed-in browser with one kept connection."""

    def __init__(self, demo: Demo) -> None:
        visitor = Visitor(demo.sealpost.origin)
        page = visitor.get("/sign-in/")
        answer = visitor.submit(page, {"address": ALICE, "password": PASSWORD, "next": "/"})
        if not answer.url.startswith("/mail/"):
            raise RuntimeError(f"The bench could not sign in: {answer.status} {answer.url}")
        self.folder = answer.url.split("?")[0]
        self.headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in visitor.cookies.items())}
        self.connection = http.client.HTTPConnection("localhost", demo.sealpost.port, timeout=60)

    def get(self, path: str, *, click: bool = False) -> tuple[int, bytes, float]:
        """Status, body, milliseconds. ``click``: as the page asks when a row is clicked."""
        headers = self.headers | ({"HX-Request": "true"} if click else {})
        begin = time.perf_counter()
        self.connection.request("GET", path, headers=headers)
        response = self.connection.getresponse()
        body = response.read()
        return response.status, body, (time.perf_counter() - begin) * 1000

    def measure(self, path: str, *, expect: bytes, click: bool = False) -> list[float]:
        """Times of :data:`ROUNDS` warm requests. Raises RuntimeError when one lacks ``expect``."""
        times = []
        for number in range(ROUNDS + WARM_UP):
            status, body, took = self.get(path, click=click)
            if status != 200 or expect not in body:
                raise RuntimeError(f"{path} answered {status} without what was looked for")
            if number >= WARM_UP:
                times.append(took)
        return times


def deliver_mails(demo: Demo) -> None:
    """A sealed and a plain mail of the same size, the newest two of the inbox."""
    now = datetime.now(UTC)
    filler = ("The tide comes in, the tide goes out. " * 60)[:MAIL_BYTES] + "\n"
    letter = compose(demo.cast.carol.mailbox(), ALICE, "Bench sealed", filler, date=now)
    sealed = smime(letter, signer=demo.cast.carol, recipients=[demo.certificate_of(ALICE)], at=now)
    plain = compose("Igor <igor@letters.example>", ALICE, "Bench plain", filler, date=now)
    demo.append(ALICE, [DemoMail(plain.as_bytes(), now), DemoMail(sealed, now)])


def newest(reader: Reader) -> list[str]:
    """Paths of the two newest mails, newest first, once the bench's own have been synced."""
    deadline = time.monotonic() + 60
    while True:
        _, body, _ = reader.get(reader.folder)
        page = body.decode()
        if "Bench plain" in page:
            break
        if time.monotonic() > deadline:
            raise RuntimeError("The bench's mails did not appear")
        time.sleep(0.5)
    links: list[str] = []
    for piece in page.split(f'href="{reader.folder}')[1:]:
        uid = piece.split("/")[0]
        path = f"{reader.folder}{uid}/"
        if uid.isdigit() and path not in links:
            links.append(path)
    return sorted(links, key=lambda path: -int(path.split("/")[-2]))[:2]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sp-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        demo = Demo(Path(folder) / "state", port=free_ports(1)[0], caller=CALLER)
        try:
            demo.start()
            deliver_mails(demo)
            reader = Reader(demo)
            sealed_path, plain_path = newest(reader)
            plain = reader.measure(plain_path, expect=b"Bench plain", click=True)
            sealed = reader.measure(sealed_path, expect=b"Bench sealed", click=True)
            whole = reader.measure(sealed_path, expect=b"Bench sealed")
            listed = reader.measure(reader.folder, expect=b"Bench plain")
            say("folder page of 31 mails (reference)", listed, "ms")
            say("open a plain 2 KB mail by a click (reference)", plain, "ms")
            say("open a signed+encrypted 2 KB mail by a click", sealed, "ms", limit=OPEN_LIMIT_MS)
            say("the same as a whole page, list beside it", whole, "ms")
            ratio = statistics.median(sealed) / statistics.median(plain)
            print(f"{'sealed / plain':<{WIDTH}}     {ratio:7.2f}", flush=True)
        finally:
            demo.sealpost.stop()


if __name__ == "__main__":
    main()
