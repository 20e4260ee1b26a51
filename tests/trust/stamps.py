"""Time stamp tokens by the openssl program: a TSA that is not ours."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tests.trust.pki import Entity

CONFIGURATION = """
[tsa]
default_tsa = one
[one]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.3.6.1.4.1.32473.5
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


def openssl_token(folder: Path, tsa: Entity, chain: list[Entity], imprint: bytes) -> bytes:
    """A TimeStampToken over ``imprint`` (SHA-256), dated now by the openssl program's clock."""
    pem = serialization.Encoding.PEM
    (folder / "tsa.cnf").write_text(CONFIGURATION)
    (folder / "serial").write_text("01\n")
    (folder / "tsa.pem").write_bytes(tsa.certificate.public_bytes(pem))
    (folder / "chain.pem").write_bytes(b"".join(c.certificate.public_bytes(pem) for c in chain))
    (folder / "tsa.key").write_bytes(
        tsa.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", "ts", *arguments], cwd=folder, check=True, capture_output=True)

    run("-query", "-digest", imprint.hex(), "-sha256", "-cert", "-out", "query.tsq")
    run(
        *("-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-signer", "tsa.pem"),
        *("-inkey", "tsa.key", "-chain", "chain.pem", "-token_out", "-out", "token.der"),
    )
    return (folder / "token.der").read_bytes()


def today() -> dt.datetime:
    """The openssl program's time stamps know no other."""
    return dt.datetime.now(dt.UTC).replace(microsecond=0)
