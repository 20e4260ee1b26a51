"""Header protection: which headers of a mail the sender protected, and how (RFC 9788).

Reading: ``hp=`` counts only on the Content-Type of the root of the cryptographic payload, and
``HP-Outer`` only in that part's headers; anywhere else both are ignored (§2.1, §2.2). Two older
forms are read and never written: ``protected-headers="v1"`` and a ``message/rfc822`` payload (RFC
8551 §3.1, "RFC8551HP").

Writing: ``hp="clear"`` for mail that is only signed, ``hp="cipher"`` for encrypted mail, with the
policy ``hcp_baseline`` (§3.2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from crypto_agent.mime import addresses
from crypto_agent.mime.headers import Headers
from crypto_agent.mime.scanner import Part, headers_end

CLEAR: Final = "clear"
CIPHER: Final = "cipher"
OLD_V1: Final = "v1"
OLD_RFC8551: Final = "rfc8551"
NONE: Final = ""

UNPROTECTED: Final = "unprotected"
SIGNED_ONLY: Final = "signed-only"
ENCRYPTED_ONLY: Final = "encrypted-only"
SIGNED_AND_ENCRYPTED: Final = "signed-and-encrypted"

OBSCURED_SUBJECT: Final = "[...]"
"""RFC 9788 §3.2.1."""

REMOVED_BY_BASELINE: Final = frozenset({"comments", "keywords"})

SHOWN: Final = (
    "from sender reply-to to cc bcc subject date message-id in-reply-to references".split()
)
"""Headers whose state of protection is told."""

LEGACY_DISPLAY_CLASS: Final = "header-protection-legacy-display"


def state(*, signed: bool, encrypted: bool) -> str:
    """One of the four states of RFC 9788 §4.3.1."""
    if signed:
        return SIGNED_AND_ENCRYPTED if encrypted else SIGNED_ONLY
    return ENCRYPTED_ONLY if encrypted else UNPROTECTED


def is_structural(name: str) -> bool:
    """Fields about the shape of a part, not about the message (RFC 9788 §1.1.1)."""
    key = name.lower()
    return key.startswith("content-") or key == "mime-version"


@dataclass(frozen=True)
class HeaderView:
    """The headers of one message, inside and outside of its cryptographic envelope."""

    scheme: str
    """``clear``, ``cipher``, ``v1``, ``rfc8551`` or "" when nothing is protected."""
    inside: Headers
    outside: Headers
    encrypted: bool
    """Whether the payload came out of an encrypted layer."""

    @property
    def protected(self) -> bool:
        return self.scheme != NONE

    def _complete(self) -> bool:
        """Whether the inner set is all there is (§4.2); v1 protects only what it repeats."""
        return self.scheme in (CLEAR, CIPHER, OLD_RFC8551)

    def all(self, name: str) -> list[bytes]:
        """The values to show of a header: the protected ones win.

        From outside only what the inside lacks in a scheme that may lack it, and From, without
        which a mail has no sender.
        """
        if not self.protected:
            return self.outside.all(name)
        found = self.inside.all(name)
        if found or (self._complete() and name != "from"):
            return found
        return self.outside.all(name)

    def first(self, name: str) -> bytes:
        found = self.all(name)
        return found[0] if found else b""

    def from_inside(self, name: str) -> bool:
        return self.protected and self.inside.has(name)

    def states(self, *, signed: bool) -> dict[str, str]:
        """The state of each shown header that the mail has. ``signed``: the signature holds."""
        told = {}
        outer_pairs = self._told_outside()
        for name in SHOWN:
            values = self.all(name)
            if not values:
                continue
            if not self.from_inside(name):
                told[name] = UNPROTECTED
                continue
            hidden = self.encrypted and not any(
                (name, _comparable(value)) in outer_pairs for value in values
            )
            told[name] = state(signed=signed, encrypted=hidden)
        return told

    def _told_outside(self) -> set[tuple[str, bytes]]:
        """What the sender says stood outside, so that it was not confidential."""
        if self.scheme == CIPHER:
            return {(name.lower(), _comparable(value)) for name, value in hp_outer(self.inside)}
        # hp="clear" says that everything was sent in clear, even when this copy is encrypted; the
        # older schemes tell nothing, so that the actual outside is all we can compare with.
        source = self.inside if self.scheme == CLEAR else self.outside
        return {(field.key, _comparable(field.value)) for field in source.fields}

    def from_differs(self) -> bool:
        """Whether the address in From differs from the actual outer one (§4.4.1)."""
        if not self.from_inside("from"):
            return False
        inner = addresses.parse_all(self.inside.all("from"))
        outer = addresses.parse_all(self.outside.all("from"))
        if len(inner) != len(outer):
            return True
        return any(
            not addresses.same(one.address, other.address)
            for one, other in zip(inner, outer, strict=True)
        )


def _comparable(value: bytes) -> bytes:
    """Unfolded, runs of blanks as one: folding may differ between the two places."""
    return b" ".join(value.split())


def hp_outer(inside: Headers) -> list[tuple[str, bytes]]:
    """``(name, value)`` of every HP-Outer field: split at the first colon (§2.2)."""
    found = []
    for value in inside.all("hp-outer"):
        name, colon, rest = value.strip().partition(b":")
        if colon:
            found.append((name.strip().decode("ascii", "replace"), rest.strip()))
    return found


def read(payload: Part, outside: Headers, *, enveloped: bool, encrypted: bool) -> HeaderView:
    """The headers of a message whose cryptographic payload is ``payload``.

    ``enveloped``: at least one cryptographic layer stands above it. Without one nothing is
    protected, whatever ``hp=`` says.
    """
    nothing = HeaderView(NONE, Headers(b""), outside, encrypted)
    if not enveloped:
        return nothing
    hp = payload.parameters.get("hp", "").lower()
    if hp in (CLEAR, CIPHER):
        # "cipher" on a message that is not encrypted proves nothing about confidentiality (§4.1):
        # it is read as protected by the signature alone.
        return HeaderView(hp if encrypted else CLEAR, payload.headers, outside, encrypted)
    if payload.parameters.get("protected-headers", "").lower() == "v1":
        return HeaderView(OLD_V1, payload.headers, outside, encrypted)
    inner = rfc8551_headers(payload, outside)
    if inner is not None:
        return HeaderView(OLD_RFC8551, inner, outside, encrypted)
    return nothing


def rfc8551_headers(payload: Part, outside: Headers) -> Headers | None:
    """The headers of a ``message/rfc822`` payload that stands for the message itself.

    A mail that was forwarded as its only part looks alike; it is taken for the message itself only
    when it has the same sender and says ``forwarded=no`` (RFC 7508 §4) or has the same Message-ID.
    """
    if payload.type != "message/rfc822" or payload.encoding in ("base64", "quoted-printable"):
        return None
    block_end, _ = headers_end(payload.source, payload.body, payload.end)
    inner = Headers(payload.source[payload.body : block_end])
    sender = addresses.single(inner.all("from"))
    if not sender or not addresses.same(sender, addresses.single(outside.all("from"))):
        return None
    not_forwarded = payload.parameters.get("forwarded", "").lower() == "no"
    identifier = inner.first("message-id")
    if not_forwarded or (identifier and identifier == outside.first("message-id")):
        return inner
    return None


# --------------------------------------------------------------------------- legacy display


def is_old_display_part(part: Part) -> bool:
    """The extra part in which ``protected-headers="v1"`` repeats the headers for old programs."""
    return (
        part.type in ("text/rfc822-headers", "text/plain")
        and part.parameters.get("protected-headers", "").lower() == "v1"
    )


def without_legacy_display(text: str, kind: str) -> str:
    """A main body part without its legacy display element (RFC 9788 §4.5.3)."""
    if kind == "text/html":
        return _without_display_div(text)
    # Up to and including the first blank line; all of it when there is none.
    match = re.search(r"^[ \t]*\n", text, re.MULTILINE)
    return text[match.end() :] if match else ""


_DIV_OPEN: Final = re.compile(
    rf"<div\s+class\s*=\s*[\"']?{LEGACY_DISPLAY_CLASS}[\"']?\s*>", re.IGNORECASE
)
_DIV_ANY: Final = re.compile(r"<(/?)div\b[^<>]{0,1000}>", re.IGNORECASE)


def _without_display_div(text: str) -> str:
    start = _DIV_OPEN.search(text)
    if start is None:
        return text
    depth = 0
    for tag in _DIV_ANY.finditer(text, start.start()):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return text[: start.start()] + text[tag.end() :]
    return text


# --------------------------------------------------------------------------- writing

Pairs = Sequence[tuple[str, str]]
"""Header names and values, encoded and folded, ready to be written."""


@dataclass(frozen=True)
class ProtectedHeaders:
    """The two sets of headers of a mail to be sent."""

    inside: tuple[tuple[str, str], ...]
    """For the root of the payload, HP-Outer included."""
    outside: tuple[tuple[str, str], ...]
    hp: str
    legacy: tuple[tuple[str, str], ...]
    """Headers that a program without header protection would not show its reader."""


def baseline(headers: Pairs, *, encrypt: bool) -> ProtectedHeaders:
    """Apply ``hcp_baseline`` (§3.2.1) to all non-structural headers of a message."""
    inside = tuple((name, value) for name, value in headers if not is_structural(name))
    if not encrypt:
        return ProtectedHeaders(inside, inside, CLEAR, ())
    outside = []
    legacy = []
    for name, value in inside:
        key = name.lower()
        if key in REMOVED_BY_BASELINE:
            legacy.append((name, value))
        elif key == "subject":
            outside.append((name, OBSCURED_SUBJECT))
            legacy.append((name, value))
        else:
            outside.append((name, value))
    # Every outer header is repeated inside (§2.2: MUST), so that a reader can tell what was hidden
    # by the sender from what was changed on the way.
    repeated = tuple(("HP-Outer", f"{name}: {value}") for name, value in outside)
    return ProtectedHeaders((*inside, *repeated), tuple(outside), CIPHER, tuple(legacy))


def legacy_display_plain(lines: Iterable[str]) -> str:
    """What stands before a plain text body: header lines and one blank line (§3.4.1)."""
    return "".join(f"{line}\n" for line in lines) + "\n"


def legacy_display_html(lines: Iterable[str]) -> str:
    """What stands first in the body of an HTML body (§3.4.2)."""
    shown = "\n".join(_escape(line) for line in lines)
    return f'<div class="{LEGACY_DISPLAY_CLASS}"><pre>{shown}</pre></div>'


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
