"""Make a vault whose secrets stand in no memory afterwards; see ``test_memory``.

``python -m tests.agent.make_vault USER`` reads the password from its input, since an argument would
stand in ``/proc``, and prints JSON: the record, and the secrets of the vault masked
(``tests.support.memory``): its key, and the primes of both RSA keys as OpenSSL holds them, the
least significant octet first.
"""

from __future__ import annotations

import base64
import datetime
import json
import secrets
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from crypto_agent.keyring import ways
from crypto_agent.keyring.generate import generate
from crypto_agent.keyring.vault import PURPOSES, OwnCertificate, found_vault
from tests.support.memory import masked

ADDRESS = "alice@acme.example"


def self_signed(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Alice Adams")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(ADDRESS)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.DER)


def main() -> None:
    (user,) = sys.argv[1:]
    password = sys.stdin.buffer.read()
    vault_key = secrets.token_bytes(ways.VAULT_KEY_BYTES)
    vault = found_vault(user, vault_key=bytearray(vault_key))
    needles = {"vault key": masked(vault_key)}
    for purpose in PURPOSES:
        key = generate("rsa-3072")
        assert isinstance(key, rsa.RSAPrivateKey)
        sealed = vault.add_key(key, purpose=purpose, algorithm="rsa-3072", now=0)
        vault.add_certificates([OwnCertificate(sealed.id, self_signed(key), ())])
        numbers = key.private_numbers()
        needles[f"{purpose} p"] = masked(numbers.p.to_bytes(192, "little"))
        needles[f"{purpose} q"] = masked(numbers.q.to_bytes(192, "little"))
        needles[f"{purpose} p in DER"] = masked(numbers.p.to_bytes(192, "big"))
    vault.wrap_for(ways.PASSWORD, password, cost=ways.FLOOR)
    record = base64.b64encode(vault.record.to_bytes()).decode()
    print(json.dumps({"record": record, "needles": needles}))


if __name__ == "__main__":
    main()
