"""``make carol``: the outside correspondent reads her newest mail with the openssl program."""

from __future__ import annotations

import imaplib
import json
import os
import sys
from email import message_from_bytes, policy
from pathlib import Path

from launcher.demo import MAIL_SERVER_PASSWORD
from launcher.demo_mail import BANK
from launcher.foreign import Correspondent, ForeignAuthority, Opened, OpensslError, open_mail

CAROL = f"carol.jones@{BANK}"


def newest_mail(imap_port: int, address: str) -> bytes | None:
    """The raw bytes of the last mail in INBOX, or None when it is empty."""
    imap = imaplib.IMAP4("127.0.0.1", imap_port)
    try:
        imap.login(address, MAIL_SERVER_PASSWORD)
        _, found = imap.select("INBOX", readonly=True)
        if not found or not int(found[0] or b"0"):
            return None
        _, parts = imap.fetch((found[0] or b"").decode(), "(BODY.PEEK[])")
        first = parts[0]
        return first[1] if isinstance(first, tuple) else None
    finally:
        imap.logout()


def carol(state: Path) -> Correspondent:
    authority = ForeignAuthority(state / "outside" / "trusted", "Lighthouse Trust Services")
    return authority.issue(CAROL, "Carol Jones")


def open_newest(state: Path) -> tuple[bytes, Opened] | None:
    """Raises OpensslError when openssl does not accept the mail."""
    ports = json.loads((state / "ports.json").read_text())
    raw = newest_mail(ports["imap"], CAROL)
    if raw is None:
        return None
    roots = [state / "outside" / "sealpost-root.crt"]
    return raw, open_mail(raw, carol(state), roots)


def main() -> None:
    state = Path(os.environ.get("SEALPOST_STATE", "var")).resolve()
    if not (state / "ports.json").exists():
        sys.exit("The demo does not run. Start it in another terminal: make demo")
    try:
        found = open_newest(state)
    except ConnectionError:
        sys.exit("The demo's mail server does not answer. Start the demo: make demo")
    except OpensslError as error:
        sys.exit(f"openssl does not accept the mail:\n{error}")
    if found is None:
        sys.exit("Carol has no mail yet. Write to her as Alice, then try again.")
    raw, opened = found
    outer = message_from_bytes(raw, policy=policy.default)
    inner = message_from_bytes(opened.entity, policy=policy.default)
    body = inner.get_body(("plain", "html"))
    print(f"Subject that the mail servers saw: {outer['Subject']}")
    print(f"Encrypted: {'yes' if opened.encrypted else 'no'}")
    print(f"Signature verified by openssl: {'yes' if opened.signed else 'no signature'}")
    print(
        f"From: {inner['From'] or outer['From']}\nSubject: {inner['Subject'] or outer['Subject']}\n"
    )
    print(body.get_content() if body is not None else "(no text)")


if __name__ == "__main__":
    main()
