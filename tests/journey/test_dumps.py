"""A copy of everything that is stored or passes the broker yields no mail, no key and no password.

Words that stand nowhere else are read, drafted, attached and sent, all of it encrypted; then they
are looked for wherever the system keeps anything. Every "not there" stands beside something that
the same search does find.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import secrets
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from crypto_agent.keyring import ways
from crypto_agent.keyring.generate import load_own_pkcs8
from crypto_agent.keyring.vault import open_vault
from launcher.browserless import CSRF_FIELD, Answer, Visitor
from launcher.demo import ALICE, BOB, MAIL_SERVER_PASSWORD, PASSWORD, Demo
from launcher.demo_mail import DemoMail, compose
from launcher.dovecot import mail_folder
from launcher.foreign import encrypt_entity, sign_entity, split_message
from launcher.redis import SOCKET_NAME
from tests.journey.processes import process_of
from tests.support.agent_node import children_of, wait_until
from tests.support.memory import masked, search
from tests.support.postgres import dump_postgres

SPOOLED_BYTES = 100_000
"""An attachment of this size travels through the spool."""
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
FIND_VAULT = f"""
import base64
from webmail.agent.models import Vault
vault = Vault.objects.get(user__username="{ALICE}")
print(vault.user_id.hex, base64.b64encode(bytes(vault.record)).decode())
"""


def new_word() -> str:
    """A word that stands nowhere else. Letters only: no encoding of mail changes it."""
    return "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(24))


def forms_of(value: bytes, depth: int = 2) -> set[bytes]:
    """``value`` as it is, in hex, and in base64 of base64: how Celery wraps what it carries."""
    found = {value, value.hex().encode()}
    if depth:
        for shift in range(3):
            encoded = base64.b64encode(bytes(shift) + value)
            # without the characters that also depend on what stands before and after
            found |= forms_of(encoded[4 if shift else 0 : -4], depth - 1)
    return found


@dataclass
class Dump:
    """What was copied: name of the place → content."""

    places: dict[str, bytes] = field(default_factory=dict)

    def add_folder(self, name: str, folder: Path, *, but: tuple[str, ...] = ()) -> None:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if inside.parts[0] not in but and path.is_file():
                self.places[f"{name}/{inside}"] = path.read_bytes()

    def where(self, value: bytes) -> set[str]:
        forms = forms_of(value)
        return {
            place
            for place, content in self.places.items()
            if any(form in content for form in forms)
        }


@contextlib.contextmanager
def overheard(path: Path) -> Iterator[bytearray]:
    """Every command that a Redis is given, as it is given (MONITOR)."""
    heard = bytearray()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"MONITOR\r\n")

        def listen() -> None:
            while data := connection.recv(1 << 20):
                heard.extend(data)

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield heard
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            listener.join()


@contextlib.contextmanager
def passing_through(folder: Path) -> Iterator[dict[str, bytes]]:
    """Blobs of the spool, name → content; they lie there for milliseconds."""
    seen: dict[str, bytes] = {}
    end = threading.Event()

    def look() -> None:
        while not end.wait(0.002):
            for path in folder.glob("??/*"):
                if path.name not in seen:
                    with contextlib.suppress(FileNotFoundError):
                        seen[path.name] = path.read_bytes()

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield seen
    finally:
        end.set()
        looker.join()


def save_redis(path: Path) -> bytes:
    """What a Redis holds, as it writes it to disk."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        for command in (b"CONFIG SET rdbcompression no", b"SAVE"):
            connection.sendall(command + b"\r\n")
            assert connection.recv(64).startswith(b"+OK")
    saved = path.parent / "dump.rdb"
    content = saved.read_bytes()
    saved.unlink()
    return content


@dataclass(frozen=True)
class Alice:
    """Alice's secrets, for looking for them."""

    user: str
    vault_key: bytes = field(repr=False)
    primes: tuple[int, ...] = field(repr=False)

    @classmethod
    def of(cls, demo: Demo) -> Alice:
        user, record = demo.sealpost.manage("shell", "-c", FIND_VAULT, capture=True).split()[-2:]
        vault = open_vault(
            base64.b64decode(record), user=user, way=ways.PASSWORD, secret=PASSWORD.encode()
        )
        primes = []
        for sealed in vault.record.keys:
            key = load_own_pkcs8(vault.open_key(sealed))
            assert isinstance(key, rsa.RSAPrivateKey)
            numbers = key.private_numbers()
            primes += [numbers.p, numbers.q]
        return cls(user, bytes(vault.copy_key()), tuple(primes))

    def secrets(self) -> dict[str, bytes]:
        found = {"vault key": self.vault_key, "password": PASSWORD.encode()}
        found["password in a form"] = urllib.parse.quote_plus(PASSWORD).encode()
        for number, prime in enumerate(self.primes):
            size = (prime.bit_length() + 7) // 8
            for order in ("little", "big"):
                found[f"prime {number} {order}"] = prime.to_bytes(size, order)
        return found


def attach(visitor: Visitor, page: Answer, draft: str, name: str, content: bytes) -> None:
    """Upload a file as a browser does."""
    token = CSRF_FIELD.search(page.text)
    assert token is not None
    mark = secrets.token_hex(16)
    body = (
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + content + f"\r\n--{mark}--\r\n".encode()  # fmt: skip
    connection = http.client.HTTPConnection(visitor.host, visitor.port, timeout=60)
    with contextlib.closing(connection):
        headers = {
            "Cookie": "; ".join(f"{key}={value}" for key, value in visitor.cookies.items()),
            "Content-Type": f"multipart/form-data; boundary={mark}",
            "X-CSRFToken": unescape(token[1]), "Origin": visitor.origin, "HX-Request": "true",
        }  # fmt: skip
        connection.request("POST", f"/compose/{draft}/attach/", body, headers)
        assert name in connection.getresponse().read().decode()


def written(page: Answer, **typed: str) -> dict[str, str]:
    """The compose form of ``page`` as a browser would post it, with what was typed."""
    form = {name: unescape(value) for name, value in HIDDEN.findall(page.text)}
    form.pop("csrfmiddlewaretoken", None)
    return form | typed


def deliver(demo: Demo, words: dict[str, str]) -> None:
    """A sealed mail whose subject is inside only (RFC 9788), and a plain one."""
    now = datetime.now(UTC)
    carol = demo.cast.carol
    inner = compose(carol.mailbox(), ALICE, words["subject read"], words["text read"], date=now)
    inner.set_param("hp", "cipher")
    outer = compose(carol.mailbox(), ALICE, "[...]", "", date=now)
    headers, _ = split_message(outer)
    signed = sign_entity(inner.as_bytes(), carol, at=now)
    sealed = headers + encrypt_entity(signed, [demo.certificate_of(ALICE)])
    plain = compose(carol.mailbox(), ALICE, words["plain subject"], words["plain text"], date=now)
    demo.append(ALICE, [DemoMail(plain.as_bytes(), now), DemoMail(sealed, now)])


def read_both(visitor: Visitor, folder: str, words: dict[str, str]) -> None:
    """Open the two newest mails: the sealed one and the plain one."""

    def uids() -> list[int]:
        page = visitor.get(folder).text
        found = {int(uid) for uid in re.findall(rf'href="{folder}(\d+)/', page)}
        return sorted(found, reverse=True)[:2] if words["plain subject"] in page else []

    wait_until(lambda: len(uids()) == 2, seconds=60, what="the arrival of the mails")
    sealed, plain = (visitor.get(f"{folder}{uid}/").text for uid in uids())
    assert words["subject read"] in sealed
    assert words["text read"] in sealed
    assert words["plain text"] in plain


def save_draft(visitor: Visitor, words: dict[str, str]) -> None:
    page = visitor.get(f"/compose/?to={BOB}")
    form = written(page, to=BOB, subject=words["subject drafted"], text=words["text drafted"])
    assert visitor.submit(page, form, path="/compose/save/").status == 200
    # The button: the worker then files it in Drafts, too.
    form |= {"subject": words["subject filed"], "save": "1", "draft": "", "version": "0"}
    assert visitor.submit(page, form, path="/compose/save/").status == 200


def send_mail(visitor: Visitor, words: dict[str, str]) -> None:
    page = visitor.get(f"/compose/?to={BOB}")
    typed = {"to": BOB, "subject": words["subject sent"], "text": words["text sent"]}
    saved = visitor.submit(page, written(page, **typed), path="/compose/save/")
    draft = json.loads(saved.text)["draft"]
    content = words["attachment"].encode() + os.urandom(SPOOLED_BYTES)
    attach(visitor, page, draft, words["file name"], content)
    page = visitor.get(f"/compose/{draft}/")
    assert visitor.submit(page, written(page, **typed), path="/compose/send/").status == 200
    wait_until(
        lambda: "encrypted · timestamped" in visitor.get("/compose/outbox/").text,
        seconds=60, what="the end of sending",
    )  # fmt: skip


def test_nothing_that_is_stored_or_carried_yields_a_mail_a_key_or_a_password(demo: Demo) -> None:
    names = ("read", "drafted", "filed", "sent")
    words = {f"subject {name}": new_word() for name in names}
    words |= {f"text {name}": new_word() for name in names if name != "filed"}
    words |= {"attachment": new_word(), "file name": new_word()}
    plain = {"plain subject": new_word(), "plain text": new_word()}
    dump = Dump()
    alice = Alice.of(demo)
    deliver(demo, words | plain)

    visitor = Visitor(demo.sealpost.origin)
    redis = demo.state / SOCKET_NAME
    embedded = redis.exists()
    listening = overheard(redis) if embedded else contextlib.nullcontext(bytearray())
    with listening as heard, passing_through(demo.state / "spool") as spooled:
        page = visitor.get("/sign-in/")
        folder = visitor.submit(page, {"address": ALICE, "password": PASSWORD, "next": "/"}).url
        read_both(visitor, folder, words | plain)
        save_draft(visitor, words)
        send_mail(visitor, words)
        if embedded:
            dump.places["redis"] = save_redis(redis)
    dump.places["broker"] = bytes(heard)
    dump.places |= {f"spool/{name}": blob for name, blob in spooled.items()}
    # What the mail server and the outside world keep of their own is looked at below and not ours.
    dump.add_folder("state", demo.state, but=("mail", "outside", "spool", "secrets"))
    database = demo.sealpost.environment.get("DATABASE_URL")
    dump.places["database"] = dump_postgres(database) if database else b"".join(
        content for place, content in dump.places.items() if "sqlite3" in place
    )  # fmt: skip
    maildir = Dump()
    maildir.add_folder("mail", mail_folder(demo.state / "mail"), but=("users",))

    cookie = visitor.cookies["__Host-unlock"]
    hidden = {name: word.encode() for name, word in words.items()} | alice.secrets()
    hidden |= {"cookie": cookie.encode(), "C": base64.urlsafe_b64decode(cookie)}
    assert {name: dump.where(value) for name, value in hidden.items() if dump.where(value)} == {}
    assert {name: maildir.where(v) for name, v in hidden.items() if maildir.where(v)} == {}
    assert dump.where(MAIL_SERVER_PASSWORD.encode()) == set()

    # Controls: the same search finds what is there to be found.
    assert len(maildir.where(plain["plain text"].encode())) == 1
    assert "database" in dump.where(plain["plain subject"].encode())
    assert "state/log/supervisor.log" in dump.where(alice.user.encode())
    assert max(map(len, spooled.values())) > SPOOLED_BYTES
    if embedded:
        assert "broker" in dump.where(alice.user.encode())
        assert "redis" in dump.where(b"_kombu")
    if os.geteuid() == 0:
        needle = masked(alice.vault_key)
        zygote = children_of(process_of(demo, "supervisor"))[0]
        assert len(search([needle], [zygote, *children_of(zygote)])) == 1
