"""Whole mails opened by gpgsm and by NSS, as Carol would with those programs."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

from launcher.foreign import Correspondent, Opened, openssl

TRANSPORT_PASSWORD = "x"


class PeerError(RuntimeError):
    """The program's own words."""


def run(*command: str | Path, data: bytes | None = None) -> bytes:
    done = subprocess.run([*map(str, command)], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise PeerError((done.stderr or done.stdout).decode("utf-8", "replace")[-2000:])
    return done.stdout


def key_file(reader: Correspondent, folder: Path) -> Path:
    path = folder / "reader.p12"
    path.write_bytes(
        openssl(
            "pkcs12", "-export", "-legacy", "-in", reader.certificate, "-inkey", reader.key,
            "-name", "reader", "-passout", f"pass:{TRANSPORT_PASSWORD}",
        )
    )  # fmt: skip
    return path


def open_with(decode: Callable[[bytes, bytes | None], bytes], mail: bytes) -> Opened:
    """Peel the layers of ``mail``; ``decode(der, detached content)`` gives what is inside."""
    entity, encrypted, signed = mail, False, False
    while True:
        part = message_from_bytes(entity)
        kind = part.get_content_type()
        smime_type = str(part.get_param("smime-type") or "").lower()
        if kind == "application/pkcs7-mime":
            der = base64.b64decode(part.get_payload())
            entity = decode(der, None)
            encrypted |= smime_type != "signed-data"
            signed |= smime_type == "signed-data"
        elif kind == "multipart/signed":
            content, der = split_signed(entity)
            decode(der, content)
            entity, signed = content, True
        else:
            return Opened(entity, encrypted, signed)


def split_signed(entity: bytes) -> tuple[bytes, bytes]:
    """The signed octets and the DER of the detached signature (RFC 1847 section 2.1)."""
    message = message_from_bytes(entity)
    boundary = b"\r\n--" + str(message.get_boundary()).encode()
    pieces = entity.split(boundary)
    content = pieces[1].removeprefix(b"\r\n")
    signature = message_from_bytes(pieces[2].removeprefix(b"\r\n"))
    return content, base64.b64decode(signature.get_payload())


def gpgsm(mail: bytes, reader: Correspondent, root: Path, folder: Path) -> Opened:
    """Raises PeerError when gpgsm does not open or verify the mail."""
    home = folder / "g"  # short: the agent's socket lies in it
    home.mkdir(mode=0o700)
    root_der = openssl("x509", "-in", root, "-outform", "DER")
    fingerprint = hashlib.sha1(root_der, usedforsecurity=False).hexdigest().upper()
    (home / "trustlist.txt").write_text(f"{fingerprint} S relax\n")
    (home / "gpgsm.conf").write_text("disable-crl-checks\nbatch\nno-tty\n")
    (home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
    program = ("gpgsm", "--homedir", home, "--disable-dirmngr", "--yes")
    with_key = (*program, "--pinentry-mode", "loopback", "--passphrase-fd", "0")
    password = f"{TRANSPORT_PASSWORD}\n".encode()

    def decode(der: bytes, detached: bytes | None) -> bytes:
        (folder / "message").write_bytes(der)
        if detached is not None:
            (folder / "content").write_bytes(detached)
            return run(*program, "--verify", folder / "message", folder / "content")
        if b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" in der[:32]:  # id-signedData
            (folder / "out").unlink(missing_ok=True)
            run(*program, "--output", folder / "out", "--verify", folder / "message")
            return (folder / "out").read_bytes()
        done = subprocess.run(
            [*map(str, with_key), "--status-fd", "2", "--decrypt", str(folder / "message")],
            input=password,
            capture_output=True,
            check=False,
        )
        # It leaves with an error when somebody else's RecipientInfo comes first.
        if b"[GNUPG:] DECRYPTION_OKAY" not in done.stderr:
            raise PeerError(done.stderr.decode("utf-8", "replace")[-2000:])
        return done.stdout

    try:
        run(*program, "--import", data=root_der)
        run(*with_key, "--import", key_file(reader, folder), data=password)
        return open_with(decode, mail)
    finally:
        run("gpgconf", "--homedir", home, "--kill", "all")


def nss(mail: bytes, reader: Correspondent, root: Path, folder: Path) -> Opened:
    """Raises PeerError when NSS does not open or verify the mail."""
    database = f"sql:{folder}"
    run("certutil", "-N", "-d", database, "--empty-password")
    run("certutil", "-A", "-d", database, "-n", "root", "-t", "CT,C,C", "-a", "-i", root)
    run("pk12util", "-d", database, "-i", key_file(reader, folder), "-W", TRANSPORT_PASSWORD)

    def decode(der: bytes, detached: bytes | None) -> bytes:
        (folder / "message").write_bytes(der)
        given: list[str | Path] = []
        if detached is not None:
            (folder / "content").write_bytes(detached)
            given = ["-c", folder / "content"]
        return run("cmsutil", "-D", "-d", database, "-i", folder / "message", *given, "-u", "4")

    return open_with(decode, mail)
