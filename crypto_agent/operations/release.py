"""``release_sign`` and ``release_seal``: the moment a held mail leaves.

Signing happens now, so that Date and signingTime agree whenever it was written (peers call a mail
invalid whose two times lie an hour apart). Between the two steps the caller fetches a timestamp
over the signature value. What was promised when the mail was held is kept, or the release is
refused: it never leaves with less.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from crypto_agent.cms import capabilities, enveloped, signed, timestamp
from crypto_agent.cms.enveloped import CipherName
from crypto_agent.cms.errors import CERTIFICATE, CmsError
from crypto_agent.cms.keys import ECDSA_SHA384, ECDSA_SHA512, ED25519
from crypto_agent.cms.signed import SignedDraft
from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.mime import build, protection, writing
from crypto_agent.mime.writing import RefusedValueError
from crypto_agent.operations.context import HOLD, RELEASE, KeyAccess, require
from crypto_agent.operations.hold import Held, Recipient, require_own_keys
from crypto_agent.protocol import pack, unpack

STATE_VERSION: Final = 1

_MICALG: Final = {ECDSA_SHA384: "sha-384", ECDSA_SHA512: "sha-512", ED25519: "sha-512"}
"""RFC 8551 §3.5.3.2; all other schemes use SHA-256."""


@dataclass(frozen=True)
class _Signed:
    """A mail between its two steps."""

    payload: bytes = field(repr=False)
    """The entity that was signed, with its protected headers."""
    signature: SignedDraft = field(repr=False)
    micalg: str
    outside: tuple[tuple[str, str], ...]
    """Headers of the mail as it leaves."""
    encrypt: bool
    recipients: tuple[Recipient, ...]
    bcc: str
    """The Bcc header of our own copy, encoded; "" when there is none."""

    def to_bytes(self) -> bytes:
        return pack(
            [
                STATE_VERSION,
                self.payload,
                self.signature.to_bytes(),
                self.micalg,
                [list(pair) for pair in self.outside],
                self.encrypt,
                [recipient.to_plain() for recipient in self.recipients],
                self.bcc,
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> _Signed:
        fields = unpack(data)
        if not isinstance(fields, list) or len(fields) != 8 or fields[0] != STATE_VERSION:
            raise ProtocolError(ErrorCode.UNSUPPORTED_VERSION, "signed mail")
        _, payload, signature, micalg, outside, encrypt, recipients, bcc = fields
        return cls(
            payload=payload,
            signature=SignedDraft.from_bytes(signature),
            micalg=micalg,
            outside=tuple((name, value) for name, value in outside),
            encrypt=encrypt,
            recipients=tuple(
                Recipient(
                    each["address"],
                    each["kind"],
                    tuple(each["certificates"]),
                    each["capabilities"],
                )
                for each in recipients
            ),
            bcc=bcc,
        )


def release_sign(keys: KeyAccess | None, payload: dict[str, Any]) -> dict[str, Any]:
    """``{"held", "date"}`` → ``{"state", "imprint", "uses"}``.

    Raises ProtocolError: forged for a blob that this vault did not seal, bad_request,
    certificate_refused, no_matching_key.
    """
    keys = require(keys)
    sealed, date = payload.get("held"), payload.get("date")
    if not isinstance(sealed, bytes) or not isinstance(date, int) or isinstance(date, bool):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "release")
    held = Held.from_bytes(keys.unseal(HOLD, sealed))
    require_own_keys(keys, held.sender[1])
    date -= date % 1000  # both times are written in whole seconds, and must be the same
    key = keys.signing_key()
    try:
        protected = protection.baseline(
            build.headers_of(held.draft, date=date, message_id=held.message_id, sender=held.sender),
            encrypt=held.encrypt,
        )
        entity = build.payload(held.draft, protected)
        bcc = writing.mailboxes(held.draft.bcc, taken=5) if held.draft.bcc else ""
        scheme = signed.scheme_for(key.certificate)
        signature = signed.sign(
            entity,
            key,
            detached=True,
            signing_time=date,
            scheme=scheme,
            encrypt_to=keys.own_certificates()[0],
        )
    except RefusedValueError as error:
        raise ProtocolError(ErrorCode.BAD_REQUEST, str(error)) from error
    except CmsError as error:
        raise ProtocolError(ErrorCode.CERTIFICATE_REFUSED, "signing") from error
    state = _Signed(
        payload=entity,
        signature=signature,
        micalg=_MICALG.get(scheme, "sha-256"),
        outside=protected.outside,
        encrypt=held.encrypt,
        recipients=held.recipients,
        bcc=bcc,
    )
    digest = hashlib.sha256(entity).hexdigest()
    return {
        "state": keys.seal(RELEASE, state.to_bytes()),
        "imprint": signature.imprint,
        "uses": [{"key": key.key_id, "operation": "sign", "digest": digest}],
    }


def release_seal(keys: KeyAccess | None, payload: dict[str, Any]) -> dict[str, Any]:
    """``{"state", "token"}`` → ``{"copies", "sent", "encrypted", "timestamped", "uses"}``.

    A token that is not about this signature is left out and the mail goes without: a broken
    timestamp service must not stop mail, and must not put its words into it.
    Raises ProtocolError: forged, certificate_refused, bad_request.
    """
    keys = require(keys)
    sealed, token = payload.get("state"), payload.get("token")
    if not isinstance(sealed, bytes) or not (token is None or isinstance(token, bytes)):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "release")
    mail = _Signed.from_bytes(keys.unseal(RELEASE, sealed))
    if token is not None and not _fits(token, mail.signature.imprint):
        token = None
    own = list(keys.own_certificates())
    if not own:
        raise ProtocolError(ErrorCode.NO_MATCHING_KEY, "no encryption certificate")
    try:
        entity = build.multipart_signed(
            mail.payload, signed.finish(mail.signature, token), micalg=mail.micalg
        )
        copies = _sealed_copies(mail, entity, own) if mail.encrypt else _clear_copy(mail, entity)
        sent = _own_copy(mail, entity, own)
    except CmsError as error:
        code = ErrorCode.CERTIFICATE_REFUSED if error.code == CERTIFICATE else ErrorCode.BAD_REQUEST
        raise ProtocolError(code, error.code) from error
    return {
        "copies": copies,
        "sent": sent,
        "encrypted": mail.encrypt,
        "timestamped": token is not None,
        "uses": [],
    }


def _fits(token: bytes, imprint: bytes) -> bool:
    return timestamp.verify_token(token, imprint=imprint).fact.passed


def _clear_copy(mail: _Signed, entity: bytes) -> list[dict[str, Any]]:
    everybody = [recipient.address for recipient in mail.recipients]
    return [{"recipients": everybody, "kind": "main", "mail": build.mail(mail.outside, entity)}]


def _sealed_copies(mail: _Signed, entity: bytes, own: Sequence[bytes]) -> list[dict[str, Any]]:
    """One envelope for To and Cc together, one for each Bcc: an envelope names everybody who can
    open it (RFC 5652 §6.2), so that a hidden recipient needs one of his own."""
    open_to = [recipient for recipient in mail.recipients if recipient.kind != "bcc"]
    groups = [("main", open_to)] if open_to else []
    groups += [("bcc", [each]) for each in mail.recipients if each.kind == "bcc"]
    copies = []
    for kind, group in groups:
        if not all(recipient.certificates for recipient in group):
            raise ProtocolError(ErrorCode.CERTIFICATE_REFUSED, "missing")
        certificates = [der for recipient in group for der in recipient.certificates]
        gcm = capabilities.all_read_gcm(recipient.capabilities for recipient in group)
        copies.append(
            {
                "recipients": [recipient.address for recipient in group],
                "kind": kind,
                "mail": build.mail(
                    mail.outside, seal_entity(entity, [*certificates, *own], gcm=gcm)
                ),
            }
        )
    return copies


def _own_copy(mail: _Signed, entity: bytes, own: Sequence[bytes]) -> bytes:
    """For the Sent folder: the very octets that were signed, encrypted to ourselves.

    Bcc is kept beside them, inside the encryption. Outside stands what hides most, also for a mail
    that left in clear.
    """
    outside = [
        (name, protection.OBSCURED_SUBJECT if name.lower() == "subject" else value)
        for name, value in mail.outside
        if name.lower() not in protection.REMOVED_BY_BASELINE
    ]
    if mail.bcc:
        entity = build.block([("Bcc", mail.bcc)]) + entity
    return build.mail(outside, seal_entity(entity, own, gcm=True))


def seal_entity(entity: bytes, certificates: Sequence[bytes], *, gcm: bool) -> bytes:
    """An enveloped entity for ``certificates``. AES-256-GCM only for readers known to open it, else
    AES-256-CBC, which every S/MIME program does. Raises CmsError."""
    cipher: CipherName = "aes-256-gcm" if gcm else "aes-256-cbc"
    unique = list(dict.fromkeys(certificates))
    return build.pkcs7_mime(
        enveloped.encrypt(entity, unique, content_cipher=cipher),
        smime_type="authEnveloped-data" if gcm else "enveloped-data",
    )
