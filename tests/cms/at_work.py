"""Run by a test in a process of its own: does everything once, and reports what it opened.

A sandboxed agent may open no file and start no process, so that nothing may be imported late.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import sys

import crypto_agent.cms
from tests.cms.people import NOW_MS, OaepParameters, person

for module in pkgutil.iter_modules(crypto_agent.cms.__path__):
    importlib.import_module(f"crypto_agent.cms.{module.name}")

from crypto_agent.cms import compressed, enveloped, signed, timestamp, verify  # noqa: E402
from crypto_agent.cms.errors import CmsError  # noqa: E402

MAIL = b"Content-Type: text/plain\r\n\r\nHello.\r\n"

alice = {kind: person(f"alice-{kind}", kind) for kind in ("rsa2048", "p256", "ed25519")}
bob = {
    kind: person(f"bob-{kind}", kind)
    for kind in ("rsa2048", "p256", "p384", "p521", "x25519", "ml-kem-768")
}
authority = person("tsa-p256", "p256", purpose="timestamp")
# numbers of the timestamp's policy and the private keys exist: from here on nothing is opened

opened: list[str] = []
watching = False


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if watching and event in ("open", "import", "subprocess.Popen", "socket.__new__", "os.open"):
        opened.append(f"{event} {arguments[:1]}")


sys.addaudithook(watch)
watching = True

for signer in alice.values():
    draft = signed.sign(MAIL, signer, detached=False, signing_time=NOW_MS)
    response = timestamp.respond(
        timestamp.request(draft.imprint, 5), authority, now=NOW_MS, serial=1, policy="1.2.3"
    )
    token = timestamp.read_response(response, imprint=draft.imprint, nonce=5)
    message = signed.finish(signed.SignedDraft.from_bytes(draft.to_bytes()), token)
    (found,) = verify.verify(message).signers
    assert found.signature.passed
    assert timestamp.verify_token(found.tokens[0], imprint=found.imprint).fact.passed
for reader in bob.values():
    for cipher in ("aes-256-cbc", "aes-256-gcm"):
        for oaep in (None, OaepParameters("sha256", "sha256")):
            envelope = enveloped.encrypt(
                MAIL, [reader.certificate], content_cipher=cipher, oaep=oaep
            )
            assert enveloped.decrypt(envelope, [reader]).content == MAIL
for broken in (b"", MAIL, message[:-1]):
    for act in (verify.verify, compressed.decompress):
        try:
            act(broken)
        except CmsError:
            pass
for name in ("md5", "sha1", "sha3_256", "shake_256"):
    hashlib.new(name, usedforsecurity=False)

control = len(opened)
watching = "--open-a-file" in sys.argv
if watching:
    open(__file__).close()
watching = False
print(control, len(opened), opened[:3])
