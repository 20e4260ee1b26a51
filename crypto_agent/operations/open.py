"""``open``: what a mail says, who says it, and what of that is proven.

Payload ``{"raw", "now", "received", "trust", "want", "part"}``; the result is described in
``docs/agent-protocol.md``. The same operation runs in a user's agent and, without keys, in the
verifier. It raises only for protocol trouble: a mail that cannot be read gives a result that says
so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from crypto_agent.cms import certificate
from crypto_agent.cms.enveloped import Decrypted
from crypto_agent.cms.errors import CmsError
from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.mime import addresses, headers, protection
from crypto_agent.mime.headers import Headers
from crypto_agent.mime.protection import HeaderView
from crypto_agent.mime.scanner import (
    NO_BOUNDARY,
    Budget,
    Part,
    TooComplexError,
    headers_end,
    scan,
)
from crypto_agent.operations import layers
from crypto_agent.operations.content import Content, Surroundings, collect
from crypto_agent.operations.context import KeyAccess
from crypto_agent.operations.layers import Layer, Opened, Walker
from crypto_agent.trust.verdict import NOT_ENCRYPTED, TrustMaterial, judge

RAW_LIMIT: Final = 100 * 1024 * 1024
"""Octets of a message; mail servers take 25 to 50 MB."""

_PROBLEM_NOTICES: Final = {
    "cms.unsupported": "decrypt.unsupported",
    "decrypt.no_key": "decrypt.no_key",
    "decrypt.failed": "decrypt.failed",
    layers.LOCKED: layers.LOCKED,
}
"""Why an encrypted layer stays closed → what is said above the mail; else it is damaged."""


@dataclass
class _Reading:
    """What is known of one mail while it is opened."""

    outside: Headers
    view: HeaderView
    opened: Opened | None = None
    content: Content = field(default_factory=Content)
    verdict: dict[str, Any] = field(default_factory=dict)
    notices: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, code: str, **params: str | int) -> None:
        notice = {"code": code, "params": params}
        if notice not in self.notices:
            self.notices.append(notice)


def open_message(keys: KeyAccess | None, payload: dict[str, Any]) -> dict[str, Any]:
    """Raises ProtocolError (bad_request, too_large)."""
    request = _Request.read(payload)
    walker = Walker(None if keys is None else keys.decryption_keys(), Budget())
    if request.part is not None:
        return _one_part(request, walker, request.part)
    reading = _start(request.raw)
    try:
        _read(reading, request, walker)
    except TooComplexError:
        reading = _start(request.raw)
        reading.tell("message.too_complex")
    return _result(reading, request, walker)


@dataclass(frozen=True)
class _Request:
    raw: bytes = field(repr=False)
    now: int
    received: int | None
    trust: TrustMaterial = field(repr=False)
    part: str | None

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> _Request:
        raw, now, received = payload.get("raw"), payload.get("now"), payload.get("received")
        want = payload.get("want", "message")
        if not isinstance(raw, bytes) or not _is_time(now) or want not in ("message", "part"):
            raise ProtocolError(ErrorCode.BAD_REQUEST, "open")
        if received is not None and not _is_time(received):
            raise ProtocolError(ErrorCode.BAD_REQUEST, "received")
        if len(raw) > RAW_LIMIT:
            raise ProtocolError(ErrorCode.TOO_LARGE)
        trust = payload.get("trust")
        if trust is not None and not isinstance(trust, dict):
            raise ProtocolError(ErrorCode.BAD_REQUEST, "trust")
        part = str(payload.get("part") or "") if want == "part" else None
        return cls(raw, int(now or 0), received, TrustMaterial.from_payload(trust), part)


def _is_time(value: object) -> bool:
    return (
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 253_402_300_800_000
    )


def _start(raw: bytes) -> _Reading:
    try:
        block_end, _ = headers_end(raw, 0, len(raw))
        outside = Headers(raw[:block_end])
    except TooComplexError:
        outside = Headers(b"")
    return _Reading(outside, HeaderView(protection.NONE, Headers(b""), outside, False))


# --------------------------------------------------------------------------- the mail as a whole


def _read(reading: _Reading, request: _Request, walker: Walker) -> None:
    # 1. Where the parts are, and the layers from the root down.
    root = scan(request.raw, budget=walker.budget)
    opened = walker.walk(root)
    reading.opened = opened
    if not reading.outside.fields or NO_BOUNDARY in opened.payload.defects:
        reading.tell("message.damaged")
    # 2. Which headers count (RFC 9788).
    reading.view = protection.read(
        opened.payload,
        root.headers,
        enveloped=any(layer.protects for layer in opened.layers),
        encrypted=opened.encrypted and not opened.problem,
    )
    # 3. Who signed: the innermost signature of the envelope speaks for the author.
    # One outside of all encryption is judged too, but does not cover what is shown.
    signed = opened.author_signature or opened.carrier_signature
    reading.verdict = _judge(reading, request, signed, root=opened.carrier_signature is None)
    holds = _signature_holds(reading.verdict)
    # 4. What it says.
    if not reading.notices and not opened.problem:
        surroundings = Surroundings(
            encrypted=opened.encrypted,
            signed=holds,
            root=True,
            remote_allowed=_is_intact(opened.layers, signed_below=holds),
            legacy_display=reading.view.scheme == protection.CIPHER,
            old_display=reading.view.scheme == protection.OLD_V1,
        )
        collect(opened.payload, surroundings, reading.content, walker)
    # 5. What the reader must be told.
    _tell_layers(reading, opened)
    _tell_errant(reading, request)


def _judge(
    reading: _Reading, request: _Request, layer: Layer | None, *, root: bool
) -> dict[str, Any]:
    opened = reading.opened
    senders = addresses.parse_all(reading.view.all("from"))
    return judge(
        layer.signed if layer is not None else None,
        from_addresses=[each.address for each in senders if each.address]
        if all(each.address for each in senders)
        else [],
        root=root,
        trust=request.trust,
        now=request.now,
        received=request.received,
        encryption=_encryption(opened.layers) if opened is not None else NOT_ENCRYPTED,
        layers=[],
    )


def _signature_holds(verdict: Mapping[str, Any]) -> bool:
    """Whether octets and key agree, whoever the signer is."""
    facts = verdict["facts"]
    return all(facts[name]["result"] == "passed" for name in ("digest", "signature", "root"))


def _is_intact(found: Sequence[Layer], *, signed_below: bool) -> bool:
    """Whether every encrypted layer is protected against changes (EFAIL, CVE-2017-17689).

    By its cipher, or by a signature inside it that holds: of the signed layers the innermost was
    judged, so only encryption above it is covered.
    """
    covered = False
    for layer in reversed(found):
        if layer.kind == layers.SIGNED and signed_below:
            covered = True
        if layer.kind != layers.ENCRYPTED or covered:
            continue
        if layer.decrypted is None or not layer.decrypted.authenticated:
            return False
    return True


def _encryption(found: Sequence[Layer]) -> dict[str, Any]:
    encrypted = [layer for layer in found if layer.kind == layers.ENCRYPTED]
    if not encrypted:
        return dict(NOT_ENCRYPTED)
    opened = [layer.decrypted for layer in encrypted if layer.decrypted is not None]
    return {
        "encrypted": True,
        "authenticated": len(opened) == len(encrypted)
        and all(each.authenticated for each in opened),
        "algorithm": " + ".join(each.cipher for each in opened),
        "key_transport": " + ".join(each.key_transport for each in opened),
        "weak": any(each.weak for each in opened),
    }


def _tell_layers(reading: _Reading, opened: Opened) -> None:
    last = opened.layers[-1] if opened.layers else None
    if any(layer.detached and layer.problem for layer in opened.layers):
        reading.tell("signature.unreadable")
    if opened.closed and last is not None:
        encrypted = last.kind == layers.ENCRYPTED
        reading.tell(
            _PROBLEM_NOTICES.get(last.problem, "message.damaged")
            if encrypted
            else "message.damaged"
        )
    if opened.carrier_signature is not None and not opened.problem:
        reading.tell("signature.outside_encryption")
    if last is not None and last.kind == layers.CERTIFICATES:
        reading.tell("certificates.only")
    if (
        opened.encrypted
        and not opened.problem
        and not _is_intact(opened.layers, signed_below=_signature_holds(reading.verdict))
    ):
        reading.tell("decrypt.unauthenticated")


def _tell_errant(reading: _Reading, request: _Request) -> None:
    """Layers that are not the mail's envelope: said, and never counted for the whole."""
    for found in reading.content.errant:
        if found.encrypted:
            reading.tell("decrypt.mixed")
        if found.problem in _PROBLEM_NOTICES:
            reading.tell(_PROBLEM_NOTICES[found.problem])
        signed = found.author_signature
        if signed is not None and signed.signed is not None:
            reading.tell("signature.partial")
            if reading.verdict["signer"] is None:
                # Nothing covers the whole: the facts of the part are shown, its root fact failed.
                encryption = reading.verdict["encryption"]
                reading.verdict = _judge(reading, request, signed, root=False)
                reading.verdict["encryption"] = encryption


# --------------------------------------------------------------------------- the result


def _result(reading: _Reading, request: _Request, walker: Walker) -> dict[str, Any]:
    if not reading.verdict:
        reading.verdict = _judge(reading, request, None, root=True)
    verdict, opened = reading.verdict, reading.opened
    holds = _signature_holds(verdict)
    verdict["layers"] = _layers(reading, request)
    signer = verdict["signer"]
    layer = opened.author_signature if opened is not None else None
    if signer is not None and layer is not None and layer.signed is not None:
        _add_hints(signer, layer)
    encrypted = bool(verdict["encryption"]["encrypted"])
    return {
        "verdict": verdict,
        "headers": _headers(reading, holds=holds),
        "outer": {
            "subject": reading.outside.text("subject"),
            "from": _mailboxes(reading.outside.all("from")),
        },
        "bodies": [body.to_plain() for body in reading.content.bodies],
        "attachments": [each.to_plain() for each in reading.content.attachments],
        "quote": _quote(reading),
        "signer": signer,
        "urls": verdict.pop("urls", []),
        "protection": ("signed" if holds else "")
        + ("-" if holds and encrypted else "")
        + ("encrypted" if encrypted else "")
        or "none",
        "notices": reading.notices,
        "uses": walker.uses,
    }


def _add_hints(signer: dict[str, Any], layer: Layer) -> None:
    """What the harvest may want of a signer that was verified: all still untrusted."""
    assert layer.signed is not None
    found = next((each for each in layer.signed.signers if each.certificate == signer["der"]), None)
    signer["bag"] = list(layer.signed.certificates)
    signer["capabilities"] = found.capabilities if found is not None else None
    signer["encryption_certificate"] = (
        preferred_certificate(found.encryption_key, layer.signed.certificates)
        if found is not None
        else None
    )


def preferred_certificate(preference: bytes | None, bag: Sequence[bytes]) -> bytes | None:
    """The certificate of ``bag`` that SMIMEEncryptionKeyPreference names (RFC 8551 §2.5.3)."""
    if not preference:
        return None
    for encoded in bag:
        try:
            found = certificate.parts(encoded)
        except CmsError:
            continue
        # [0] IMPLICIT IssuerAndSerialNumber: the same octets but for the first.
        if preference[:1] == b"\xa0" and preference[1:] == certificate.issuer_and_serial(found)[1:]:
            return encoded
        # [2] IMPLICIT SubjectKeyIdentifier, shorter than 128 octets.
        if preference[:1] == b"\x82" and found.has_key_identifier(preference[2:]):
            return encoded
    return None


def _layers(reading: _Reading, request: _Request) -> list[dict[str, Any]]:
    """Every layer of the envelope from outside in, then the errant ones."""
    told = []
    opened = reading.opened
    if opened is not None:
        told += [_layer(layer, reading, request, root=True) for layer in opened.layers]
    for errant in reading.content.errant:
        told += [_layer(layer, reading, request, root=False) for layer in errant.layers]
    return told


def _layer(layer: Layer, reading: _Reading, request: _Request, *, root: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": layer.kind, "root": root, "problem": layer.problem}
    if layer.kind == layers.SIGNED:
        judged = _judged(layer, reading, request, root=root)
        signer = judged["signer"] or {}
        told |= {
            "detached": layer.detached,
            "state": judged["state"],
            "facts": judged["facts"],
            "name": signer.get("name", ""),
            "addresses": signer.get("addresses", []),
            "fingerprint": signer.get("fingerprint", ""),
            "signers": len(layer.signed.signers) if layer.signed is not None else 0,
        }
    if layer.decrypted is not None:
        told |= _decrypted(layer.decrypted)
    return told


def _judged(layer: Layer, reading: _Reading, request: _Request, *, root: bool) -> dict[str, Any]:
    """The verdict over one signed layer; of one that is not the author's, said above the mail."""
    opened = reading.opened
    if opened is not None and layer is (opened.author_signature or opened.carrier_signature):
        return reading.verdict
    judged = _judge(reading, request, layer, root=root)
    if root:
        # An outer signature tells who handed the mail on; it never stands for the author's.
        results = {judged["facts"][name]["result"] for name in ("digest", "signature")}
        if "failed" in results:
            reading.tell("signature.outer_failed")
        elif judged["signer"] is not None and (
            reading.verdict["signer"] is None
            or judged["signer"]["fingerprint"] != reading.verdict["signer"]["fingerprint"]
        ):
            reading.tell("signature.carried", name=str(judged["signer"]["name"]))
    return judged


def _decrypted(found: Decrypted) -> dict[str, Any]:
    return {
        "algorithm": found.cipher,
        "key_transport": found.key_transport,
        "authenticated": found.authenticated,
        "weak": found.weak,
        "recipients": found.recipients,
    }


def _mailboxes(values: Sequence[bytes]) -> list[dict[str, str]]:
    return [each.to_plain() for each in addresses.parse_all(values)]


def _headers(reading: _Reading, *, holds: bool) -> dict[str, Any]:
    view, verdict = reading.view, reading.verdict
    mismatch = view.from_differs()
    from_values, reply_to = view.all("from"), view.all("reply-to")
    if mismatch and verdict["state"] != "verified":
        # RFC 9788 §4.4: without a valid signature bound to it the inner From is a claim; the outer
        # one is shown, which at least the mail servers checked. Replies still go to protected
        # addresses only (§6.1).
        from_values = reading.outside.all("from")
        reply_to = reply_to or view.inside.all("from")
    bcc = view.all("bcc") or _enclosed_bcc(reading)
    return {
        "subject": headers.decode_text(view.first("subject")),
        "from": _mailboxes(from_values),
        "sender": _mailboxes(view.all("sender")),
        "to": _mailboxes(view.all("to")),
        "cc": _mailboxes(view.all("cc")),
        "bcc": _mailboxes(bcc),
        "reply_to": _mailboxes(reply_to),
        "date": headers.date(view.first("date")),
        "message_id": next(iter(headers.message_ids(view.first("message-id"))), ""),
        "in_reply_to": next(iter(headers.message_ids(view.first("in-reply-to"))), ""),
        "references": headers.message_ids(view.first("references")),
        # RFC 9788 §4.6: List-* may be taken from outside, mailing lists add them there.
        "list_unsubscribe": headers.decode_text(
            view.inside.first("list-unsubscribe") or reading.outside.first("list-unsubscribe")
        ),
        "protected": view.states(signed=holds),
        "from_mismatch": mismatch,
    }


def _enclosed_bcc(reading: _Reading) -> list[bytes]:
    """Bcc of our own sent copy: it stands inside the encryption, outside of what was signed."""
    if reading.opened is None:
        return []
    for layer in reading.opened.layers:
        if layer.kind == layers.ENCRYPTED and layer.inside is not None:
            return layer.inside.all("bcc")
    return []


def _quote(reading: _Reading) -> dict[str, Any]:
    """What a reply may repeat: what the reader saw of the root payload, of one protection only.

    Nothing when a part came out of an errant encrypted layer: an attacker may have put somebody's
    encrypted text beside his own question (reply as decryption oracle).
    """
    if any(found.encrypted for found in reading.content.errant):
        return {"text": "", "html": None}
    bodies = reading.content.bodies
    roots = [body for body in bodies if body.root]
    if bodies and not bodies[0].root:
        # A list's footer stands in the root, the signed letter before it does not.
        roots = [body for body in bodies if body.protection == bodies[0].protection]
    if roots:
        roots = [body for body in roots if body.protection == roots[0].protection]
    text = next((body.text for body in roots if body.type == "text/plain"), "")
    html = next((body.text for body in roots if body.type == "text/html"), None)
    return {"text": text, "html": html}


# --------------------------------------------------------------------------- one part


def _one_part(request: _Request, walker: Walker, wanted: str) -> dict[str, Any]:
    """Raises ProtocolError: too_complex, and bad_request when no shown part has that id."""
    try:
        root = scan(request.raw, budget=walker.budget)
        opened = walker.walk(root)
        content = Content()
        if not opened.problem:
            collect(opened.payload, Surroundings(root=True), content, walker)
    except TooComplexError as error:
        raise ProtocolError(ErrorCode.TOO_COMPLEX) from error
    part: Part | None = content.parts.get(wanted)
    if part is None:
        if opened.problem in (layers.LOCKED, "decrypt.no_key"):
            raise ProtocolError(
                ErrorCode.NOT_UNLOCKED
                if opened.problem == layers.LOCKED
                else ErrorCode.NO_MATCHING_KEY
            )
        raise ProtocolError(ErrorCode.BAD_REQUEST, "no such part")
    return {
        "name": part.name,
        "type": part.type,
        "data": part.content(),
        "uses": walker.uses,
    }
