"""The cast with real vaults and real certificates, and the openssl program as their
correspondent."""

from __future__ import annotations

import datetime as dt
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crypto_agent.keyring.keyops import Keyring
from crypto_agent.keyring.vault import ENCRYPT, SIGN, OwnCertificate, found_vault
from crypto_agent.operations.open import open_message
from tests.trust.pki import DAY, Entity, ms, new_intermediate, new_root, rsa_key, usage

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
"""openssl signs with its own clock."""
NOW_MS = ms(NOW)
LIFE = {"not_before": NOW - 100 * DAY, "not_after": NOW + 100 * DAY}


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def openssl(*arguments: str | Path, data: bytes = b"") -> bytes:
    """Raises CalledProcessError."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)], input=data, capture_output=True, check=False
    )
    if done.returncode:
        raise AssertionError(done.stderr.decode(errors="replace"))
    return done.stdout


@dataclass
class Member:
    """Somebody with an address, a signing and an encryption certificate."""

    name: str
    address: str
    signing: Entity
    encrypting: Entity
    issuer: Entity
    folder: Path
    keyring: Keyring = field(repr=False)

    @property
    def mailbox(self) -> dict[str, str]:
        return {"name": self.name, "address": self.address}

    @property
    def header(self) -> str:
        return f"{self.name} <{self.address}>"

    def files(self, entity: Entity) -> tuple[Path, Path]:
        """PEM files of certificate and key."""
        stem = self.folder / f"{self.address}.{entity.certificate.serial_number:x}"
        certificate, key = Path(f"{stem}.crt"), Path(f"{stem}.key")
        if not key.exists():
            certificate.write_bytes(pem(entity.der))
            key.write_bytes(
                entity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            )
        return certificate, key

    # --- with the openssl program

    def sign(self, entity: bytes, *, opaque: bool = False, md: str = "sha256") -> bytes:
        certificate, key = self.files(self.signing)
        chain = self.folder / "chain.pem"
        chain.write_bytes(pem(self.issuer.der))
        return crlf(
            openssl(
                "cms", "-sign", "-signer", certificate, "-inkey", key, "-certfile", chain,
                "-md", md, "-crlfeol", *(["-nodetach"] if opaque else []), data=entity,
            )
        )  # fmt: skip

    def decrypt(self, mail: bytes) -> bytes:
        certificate, key = self.files(self.encrypting)
        return openssl("cms", "-decrypt", "-recip", certificate, "-inkey", key, data=mail)


def crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class World:
    """One authority that everybody trusts, and one that nobody does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = new_root("Example Root")
        self.issuing = new_intermediate(self.root, "Example Issuing")
        self.alice = self.member("Alice Adams", "alice@example.test", rsa=True)
        self.bob = self.member("Bob Builder", "bob@example.test")
        self.carol = self.member("Carol Jones", "carol@example.test", rsa=True)
        self.mallory = self.member("Mallory", "mallory@evil.test")

    @cached_property
    def untrusted(self) -> Entity:
        return new_root("Nobody's Root")

    def member(
        self, name: str, address: str, *, rsa: bool = False, issuer: Entity | None = None
    ) -> Member:
        issuer = issuer or self.issuing
        signing = issuer.person(address, subject=name, key=rsa_key(2048) if rsa else None, **LIFE)
        encrypting = issuer.person(
            address,
            subject=name,
            key=rsa_key(3072) if rsa else None,
            key_usage=usage(key_encipherment=True) if rsa else usage(key_agreement=True),
            **LIFE,
        )
        vault = found_vault("00" * 16)
        for purpose, entity in ((SIGN, signing), (ENCRYPT, encrypting)):
            sealed = vault.add_key(entity.key, purpose=purpose, algorithm="", now=NOW_MS)
            chain = (issuer.der,)
            vault.add_certificates([OwnCertificate(sealed.id, entity.der, chain)])
        return Member(name, address, signing, encrypting, issuer, self.folder, Keyring(vault))

    @property
    def trust(self) -> dict[str, Any]:
        return {
            "anchors": [self.root.der],
            "intermediates": [],
            "crls": [self.root.crl(at=NOW - DAY), self.issuing.crl(at=NOW - DAY)],
            "ocsp": [],
            "pins": {},
        }

    def open(
        self, raw: bytes, *, by: Member | None = None, now: int = NOW_MS, **more: Any
    ) -> dict[str, Any]:
        """The ``open`` operation with ``by``'s keys, or in the verifier."""
        payload = {"raw": raw, "now": now, "received": now, "trust": self.trust, "want": "message"}
        return open_message(by.keyring if by else None, {**payload, **more})

    def encrypt(
        self, entity: bytes, *to: Member, cipher: str = "aes-256-cbc", options: Sequence[str] = ()
    ) -> bytes:
        arguments: list[str | Path] = []
        for member in to:
            arguments += ["-recip", member.files(member.encrypting)[0], *options]
        return crlf(openssl("cms", "-encrypt", f"-{cipher}", *arguments, data=entity))

    def verify(self, mail: bytes) -> bytes:
        """What openssl says was signed; AssertionError when it does not accept the signature."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            anchors = Path(folder) / "anchors.pem"
            anchors.write_bytes(pem(self.root.der))
            return openssl(
                "cms", "-verify", "-CAfile", anchors, "-purpose", "smimesign",
                "-attime", str(NOW_MS // 1000), data=mail,
            )  # fmt: skip


def head(**fields: str) -> bytes:
    """Header lines; ``message_id="<x>"`` becomes ``Message-ID``."""
    names = {"message_id": "Message-ID", "from_": "From", "in_reply_to": "In-Reply-To"}
    return "".join(
        f"{names.get(name, name.replace('_', '-').title())}: {value}\r\n"
        for name, value in fields.items()
    ).encode()


TEXT = b"Content-Type: text/plain\r\n\r\nThe pier is closed.\r\n"
