"""``hold``: take a finished mail into safe-keeping until its time of release.

Payload ``{"draft", "recipients", "encrypt", "from", "message_id"}``; result ``{"held"}``: the whole
mail, sealed under the vault, with the protection that its writer was promised. Nothing can be taken
away from that later: :mod:`crypto_agent.operations.release` obeys it or refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crypto_agent.cms import certificate as cms_certificate
from crypto_agent.cms.errors import CmsError
from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.mime import build, writing
from crypto_agent.mime.build import Draft
from crypto_agent.mime.writing import RefusedValueError
from crypto_agent.operations.context import HOLD, KeyAccess, require
from crypto_agent.protocol import pack, unpack

HELD_VERSION: Final = 1
MAIL_LIMIT: Final = 64 * 1024 * 1024
"""Octets of text and attachments together: beyond what any mail server takes."""
CERTIFICATES_PER_RECIPIENT: Final = 8

KINDS: Final = ("to", "cc", "bcc")


@dataclass(frozen=True)
class Recipient:
    """Somebody the mail goes to."""

    address: str
    """As the caller wrote it: the envelope's recipient."""
    kind: str
    certificates: tuple[bytes, ...] = field(repr=False)
    capabilities: bytes | None = field(repr=False, default=None)

    def to_plain(self) -> dict[str, Any]:
        return {
            "address": self.address,
            "kind": self.kind,
            "certificates": list(self.certificates),
            "capabilities": self.capabilities,
        }


@dataclass(frozen=True)
class Held:
    """A mail waiting for its release."""

    draft: Draft
    recipients: tuple[Recipient, ...]
    encrypt: bool
    sender: tuple[str, str]
    message_id: str

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Held:
        """Raises ProtocolError: bad_request; certificate_refused when the mail is to be encrypted
        and a recipient has no usable certificate; too_large."""
        encrypt = payload.get("encrypt")
        if not isinstance(encrypt, bool):
            # Not even a missing value may mean "in clear".
            raise ProtocolError(ErrorCode.BAD_REQUEST, "encrypt")
        try:
            draft = Draft.from_payload(payload.get("draft"))
            chosen = payload.get("from")
            sender = (
                (str(chosen.get("name") or ""), str(chosen.get("address") or ""))
                if isinstance(chosen, Mapping)
                else draft.sender
            )
            found = cls(
                draft=draft,
                recipients=_recipients(payload.get("recipients")),
                encrypt=encrypt,
                sender=sender,
                message_id=str(payload.get("message_id") or ""),
            )
            found.check()
        except RefusedValueError as error:
            raise ProtocolError(ErrorCode.BAD_REQUEST, str(error)) from error
        return found

    def check(self) -> None:
        """Raises ProtocolError and RefusedValueError."""
        size = len(self.draft.text) + len(self.draft.html or "")
        size += sum(len(each.data) for each in self.draft.attachments)
        if size > MAIL_LIMIT:
            raise ProtocolError(ErrorCode.TOO_LARGE)
        # Everything that will be written is written once now, so that nothing is found out later.
        build.headers_of(self.draft, date=0, message_id=self.message_id, sender=self.sender)
        for attachment in self.draft.attachments:
            build.check_attachment(attachment)
        named = {
            kind: {build.comparable(address) for _, address in group}
            for kind, group in (
                ("to", self.draft.to),
                ("cc", self.draft.cc),
                ("bcc", self.draft.bcc),
            )
        }
        for recipient in self.recipients:
            if build.comparable(recipient.address) not in named[recipient.kind]:
                raise ProtocolError(ErrorCode.BAD_REQUEST, "recipient not in the draft")
            if self.encrypt:
                check_certificates(recipient)
        served = {build.comparable(recipient.address) for recipient in self.recipients}
        if not set.union(*named.values()) <= served:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "recipient missing")

    def to_bytes(self) -> bytes:
        return pack(
            [
                HELD_VERSION,
                self.draft.to_payload(),
                [recipient.to_plain() for recipient in self.recipients],
                self.encrypt,
                list(self.sender),
                self.message_id,
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Held:
        """Raises ProtocolError, also when what was promised can no longer be kept."""
        fields = unpack(data)
        if not isinstance(fields, list) or len(fields) != 6 or fields[0] != HELD_VERSION:
            raise ProtocolError(ErrorCode.UNSUPPORTED_VERSION, "held mail")
        _, draft, recipients, encrypt, sender, message_id = fields
        return cls.from_payload(
            {
                "draft": draft,
                "recipients": recipients,
                "encrypt": encrypt,
                "from": {"name": sender[0], "address": sender[1]},
                "message_id": message_id,
            }
        )


def check_certificates(recipient: Recipient) -> None:
    """Raises ProtocolError (certificate_refused) unless the mail can be encrypted to them."""
    if not recipient.certificates:
        raise ProtocolError(ErrorCode.CERTIFICATE_REFUSED, "missing")
    for der in recipient.certificates:
        try:
            cms_certificate.public_key(cms_certificate.parts(der).spki)
        except CmsError as error:
            raise ProtocolError(ErrorCode.CERTIFICATE_REFUSED, "unreadable") from error


def _recipients(untrusted: object) -> tuple[Recipient, ...]:
    if not isinstance(untrusted, list) or not 1 <= len(untrusted) <= build.RECIPIENTS_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "recipients")
    found: dict[str, Recipient] = {}
    for each in untrusted:
        if not isinstance(each, dict) or each.get("kind") not in KINDS:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "recipient")
        certificates = each.get("certificates") or []
        capabilities = each.get("capabilities")
        if (
            not isinstance(certificates, list)
            or len(certificates) > CERTIFICATES_PER_RECIPIENT
            or not all(isinstance(der, bytes) for der in certificates)
            or not (capabilities is None or isinstance(capabilities, bytes))
        ):
            raise ProtocolError(ErrorCode.BAD_REQUEST, "recipient")
        address = writing.address(str(each.get("address") or "")) and str(each["address"])
        if build.comparable(address) in found:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "recipient twice")
        found[build.comparable(address)] = Recipient(
            address, each["kind"], tuple(certificates), capabilities
        )
    return tuple(found.values())


def hold(keys: KeyAccess | None, payload: dict[str, Any]) -> dict[str, Any]:
    """Raises ProtocolError: bad_request, certificate_refused, too_large, no_matching_key."""
    keys = require(keys)
    held = Held.from_payload(payload)
    require_own_keys(keys, held.sender[1])
    return {"held": keys.seal(HOLD, held.to_bytes())}


def require_own_keys(keys: KeyAccess, sender: str) -> None:
    """Raises ProtocolError: no_matching_key without certificates to sign with and to encrypt our
    own copy to; bad_request for a From that our signing certificate does not name (nobody would
    believe that signature)."""
    keys.signing_key()
    if not keys.own_certificates():
        raise ProtocolError(ErrorCode.NO_MATCHING_KEY, "no encryption certificate")
    own = {build.comparable(address) for address in keys.addresses()}
    if build.comparable(sender) not in own:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "not a sender address of this user")
