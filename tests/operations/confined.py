"""Run every operation and print what was opened or imported meanwhile. See ``test_confined``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crypto_agent.operations.drafts import open_draft, seal_draft
from tests.operations.test_send import draft, held, release
from tests.operations.world import TEXT, World, head

WATCHED = frozenset(
    {"open", "import", "os.listdir", "os.scandir", "socket.__new__", "subprocess.Popen", "os.fork"}
)

_seen: list[tuple[str, str]] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is not None and event in WATCHED:
        _seen.append((event, str(arguments[:1])))


sys.addaudithook(_note)


@contextmanager
def watched() -> Iterator[list[tuple[str, str]]]:
    global _seen
    _seen = []
    try:
        yield _seen
    finally:
        _seen = None


def control() -> None:
    """The watch does see files and imports."""
    with watched() as seen:
        try:
            __import__("this_is_no_module")
        except ImportError:
            pass
        with open("/dev/null"):
            pass
    assert {event for event, _ in seen} >= {"import", "open"}


CHARSETS = "utf-8 gb2312 big5 shift_jis iso-2022-jp euc-kr iso-2022-kr hz-gb-2312 koi8-r utf-16 x"


def run(world: World) -> list[tuple[str, str]]:
    outer = (
        "From: Bob <bob@münchen.test>\r\nTo: 李 <li@例子.test>\r\n"
        "Date: Mon, 01 Jun 2026 12:00:00 +0000\r\nSubject: "
    ).encode() + b" ".join(f"=?{name}?q?a=80=A4?=".encode() for name in CHARSETS.split())
    plain = b"\r\n".join([outer, b"Content-Type: text/plain; charset=idna", b"", b"x"])
    parts = b"".join(
        f"--b\r\nContent-Type: text/plain; charset={name}\r\n\r\n\x1b$Bab\r\n".encode()
        for name in CHARSETS.split()
    )
    many = outer + b"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"
    header = head(from_=world.bob.header, subject="s")
    mails = [
        plain,
        many,
        header + world.bob.sign(TEXT),
        header + world.mallory.sign(TEXT, opaque=True),
        header + world.encrypt(world.bob.sign(TEXT), world.alice),
        header + world.encrypt(TEXT, world.alice, cipher="aes-256-gcm"),
        header + world.encrypt(TEXT, world.alice, cipher="des3"),
        header + world.encrypt(TEXT, world.bob),
        header + b"Content-Type: application/pkcs7-mime\r\n\r\nnot cms",
        b"",
    ]
    wanted = draft(world, html="<p>ü</p>", headers={"X-Tag": "ü"})
    with watched() as seen:
        for mail in mails:
            world.open(mail, by=world.alice)
            world.open(mail)
        release(world, held(world, draft=wanted))
        release(world, held(world, draft=wanted, encrypt=False), token=b"0\x03abc")
        sealed = seal_draft(world.alice.keyring, {"draft": wanted})["mail"]
        open_draft(world.alice.keyring, {"mail": sealed})
    return seen


if __name__ == "__main__":
    control()
    with tempfile.TemporaryDirectory() as folder:
        print(run(World(Path(folder))))
