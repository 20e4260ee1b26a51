"""Walk the cryptographic layers of a mail, from its root to what the sender wrote (RFC 8551 §3).

Layers that stand one in the other from the root down are the mail's envelope; what they hold is its
payload (RFC 9787 §4.1). A layer anywhere else is errant: it is opened only where a mailing list
puts it, as a direct part of a ``multipart/mixed`` payload, and it never lifts the mail. One in an
attachment, in a mail within the mail or among alternatives stays closed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from crypto_agent.cms import certs_only, compressed, content_info, enveloped, oids, verify
from crypto_agent.cms.enveloped import Decrypted
from crypto_agent.cms.errors import TOO_COMPLEX, UNSUPPORTED, CmsError
from crypto_agent.cms.keys import DecryptionKey
from crypto_agent.cms.verify import SignedMessage
from crypto_agent.mime.headers import Headers, lenient_base64
from crypto_agent.mime.scanner import Budget, Part, TooComplexError, scan

LAYERS_LIMIT: Final = 10
"""Of a whole mail; triple wrapping has three, a list server may add two."""

SIGNED: Final = "signed"
ENCRYPTED: Final = "encrypted"
COMPRESSED: Final = "compressed"
CERTIFICATES: Final = "certificates"

_PKCS7_MIME: Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_PKCS7_SIGNATURE: Final = frozenset(
    {"application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_OPAQUE_TYPES: Final = frozenset({"application/octet-stream", "application/binary"})

_NAMES: Final = {
    "signed": SIGNED,
    "enveloped": ENCRYPTED,
    "auth-enveloped": ENCRYPTED,
    "compressed": COMPRESSED,
}

LOCKED: Final = "decrypt.locked"
"""Encrypted, and this process holds no keys."""


@dataclass(frozen=True)
class Layer:
    """One layer that was looked into."""

    kind: str
    detached: bool = False
    signed: SignedMessage | None = None
    decrypted: Decrypted | None = None
    problem: str = ""
    """Code of why it could not be opened; "" when it was."""
    inside: Headers | None = None
    """Header fields of the entity directly inside."""

    @property
    def protects(self) -> bool:
        """Whether it is a cryptographic layer at all: signed by somebody, or encrypted."""
        if self.problem:
            return False
        return self.kind == ENCRYPTED or (self.signed is not None and bool(self.signed.signers))


@dataclass
class Opened:
    """The end of a walk."""

    payload: Part
    """What the layers hold; the closed container itself when one could not be opened."""
    layers: list[Layer] = field(default_factory=list)
    closed: bool = False
    """Whether the last layer could not be opened, so that ``payload`` is a container."""

    @property
    def problem(self) -> str:
        """Code of why the walk ended early; "" when it did not."""
        return self.layers[-1].problem or "cms.damaged" if self.closed else ""

    @property
    def encrypted(self) -> bool:
        return any(layer.kind == ENCRYPTED for layer in self.layers)

    @property
    def author_signature(self) -> Layer | None:
        """The innermost signature, if it is about what is shown.

        One that lies outside of all encryption only says who handed a ciphertext on: anybody can
        sign somebody else's.
        """
        for layer in reversed(self.layers):
            if layer.kind == SIGNED:
                return layer
            if layer.kind == ENCRYPTED:
                break
        return None

    @property
    def carrier_signature(self) -> Layer | None:
        """The innermost signature of all, when it is not the author's."""
        if self.author_signature is not None:
            return None
        return next((each for each in reversed(self.layers) if each.kind == SIGNED), None)


def is_signature(part: Part) -> bool:
    """A detached signature, which is no attachment where it belongs."""
    return part.type in _PKCS7_SIGNATURE


def is_clear_signed(part: Part) -> bool:
    """``multipart/signed`` of S/MIME: two parts, the second a PKCS #7 signature."""
    return (
        part.type == "multipart/signed"
        and len(part.children) == 2
        and (
            is_signature(part.children[1])
            # Some gateways rename the type; the protocol parameter still tells.
            or part.parameters.get("protocol", "").lower() in _PKCS7_SIGNATURE
        )
    )


def is_container(part: Part) -> bool:
    """A part whose whole content is one CMS object (RFC 8551 §3.2, §3.2.1 for the file names)."""
    if part.type in _PKCS7_MIME:
        return True
    return part.type in _OPAQUE_TYPES and part.name.lower().endswith(".p7m")


class Walker:
    """Opens layers within one budget for the whole mail."""

    def __init__(self, keys: Sequence[DecryptionKey] | None, budget: Budget) -> None:
        self._keys = keys
        self.budget = budget
        self._left = LAYERS_LIMIT
        self.uses: list[dict[str, str]] = []

    def walk(self, part: Part) -> Opened:
        """Open layer after layer from ``part`` down. Raises TooComplexError."""
        opened = Opened(part)
        while True:
            layer, inner = self._open(opened.payload)
            if layer is None:
                return opened
            opened.layers.append(layer)
            if inner is None:
                opened.closed = layer.kind != CERTIFICATES  # those hold nothing to read
                return opened
            opened.payload = inner

    def _open(self, part: Part) -> tuple[Layer | None, Part | None]:
        clear = is_clear_signed(part)
        if not clear and not is_container(part):
            return None, None
        self._left -= 1
        if self._left < 0:
            raise TooComplexError
        return self._clear_signed(part) if clear else self._container(part)

    def _clear_signed(self, part: Part) -> tuple[Layer, Part]:
        content, signature = part.children
        try:
            signed = verify_detached(signature.content(), content.octets())
        except CmsError as error:
            # Not readable as a signature: its text can be shown, and counts as not signed.
            return Layer(SIGNED, detached=True, problem=error.code), content
        return Layer(SIGNED, detached=True, signed=signed, inside=content.headers), content

    def _container(self, part: Part) -> tuple[Layer | None, Part | None]:
        data = _cms_octets(part)
        kind = content_info.kind(data)  # smime-type may be missing or wrong: the content tells
        try:
            if kind == "signed":
                return self._opaque_signed(part, data)
            if kind in ("enveloped", "auth-enveloped"):
                return self._enveloped(part, data)
            if kind == "compressed":
                return self._compressed(part, data)
        except CmsError as error:
            if error.code == TOO_COMPLEX:
                raise TooComplexError from error
            named = (
                SIGNED if kind == "signed" else ENCRYPTED if kind != "compressed" else COMPRESSED
            )
            return Layer(named, problem=error.code), None
        if part.type in _PKCS7_MIME:
            return Layer(_claimed(part), problem="cms.damaged"), None
        return None, None  # any file may be called .p7m

    def _opaque_signed(self, part: Part, data: bytes) -> tuple[Layer, Part | None]:
        signed = verify.verify(data)
        if signed.content is None:
            if not signed.signers:
                certs_only.read(data)
                return Layer(CERTIFICATES, signed=signed), None
            return Layer(SIGNED, signed=signed, problem="digest.no_content"), None
        if signed.content_type != oids.DATA:
            return Layer(SIGNED, signed=signed, problem=UNSUPPORTED), None
        inner = self._inside(part, signed.content)
        return Layer(SIGNED, signed=signed, inside=inner.headers), inner

    def _enveloped(self, part: Part, data: bytes) -> tuple[Layer, Part | None]:
        if self._keys is None:
            return Layer(ENCRYPTED, problem=LOCKED), None
        digest = hashlib.sha256(data).hexdigest()
        try:
            decrypted = enveloped.decrypt(data, self._keys)
        except CmsError as error:
            if error.code == "decrypt.failed":
                self.uses.append(
                    {"key": "", "operation": "decrypt", "digest": digest, "outcome": "failed"}
                )
            raise
        self.uses.append({"key": decrypted.key_id, "operation": "decrypt", "digest": digest})
        if decrypted.content_type != oids.DATA:
            return Layer(ENCRYPTED, decrypted=decrypted, problem=UNSUPPORTED), None
        inner = self._inside(part, decrypted.content)
        return Layer(ENCRYPTED, decrypted=decrypted, inside=inner.headers), inner

    def _compressed(self, part: Part, data: bytes) -> tuple[Layer, Part | None]:
        found = compressed.decompress(data)
        if found.content_type != oids.DATA:
            return Layer(COMPRESSED, problem=UNSUPPORTED), None
        inner = self._inside(part, found.content)
        return Layer(COMPRESSED, inside=inner.headers), inner

    def _inside(self, part: Part, content: bytes) -> Part:
        self.budget.take_octets(len(content))
        return scan(content, budget=self.budget, inside=part.id)


def verify_detached(signature: bytes, content: bytes) -> SignedMessage:
    """Check a detached signature over a part exactly as it stands in the source.

    A part that came with bare LF is first taken in canonical form, line ends CRLF (RFC 8551
    §3.1.1): that is what its signer signed. Some programs sign binary content as it is, so the
    octets themselves are the one other form that is tried. Raises CmsError.
    """
    canonical = canonical_lines(content)
    found = verify.verify(signature, canonical)
    if canonical != content and not any(signer.digest.passed for signer in found.signers):
        as_it_is = verify.verify(signature, content)
        if any(signer.digest.passed for signer in as_it_is.signers):
            return as_it_is
    return found


def canonical_lines(content: bytes) -> bytes:
    """Line ends as CRLF; the same object when they are already."""
    if content.count(b"\n") == content.count(b"\r\n"):
        return content
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _cms_octets(part: Part) -> bytes:
    data = part.content()
    if part.encoding not in ("base64", "x-uuencode") and data[:2] == b"MI":
        return lenient_base64(data)  # base64 without saying so
    return data


def _claimed(part: Part) -> str:
    """What a container that cannot be read says it is."""
    claimed = part.parameters.get("smime-type", "").lower()
    if claimed in ("signed-data", "certs-only"):
        return SIGNED
    return COMPRESSED if claimed == "compressed-data" else ENCRYPTED
