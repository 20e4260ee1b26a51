"""EnvelopedData (RFC 5652 §6) and AuthEnvelopedData (RFC 5083)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from crypto_agent.cms import der, oids
from crypto_agent.cms.certificate import Parts, parts
from crypto_agent.cms.content_cipher import ContentCipher, cipher_of, seal
from crypto_agent.cms.content_info import close_content, content_info, open_content
from crypto_agent.cms.errors import (
    CERTIFICATE,
    DAMAGED,
    DECRYPT_FAILED,
    NO_KEY,
    TOO_COMPLEX,
    UNSUPPORTED,
    CmsError,
)
from crypto_agent.cms.keys import DecryptionKey, OaepParameters
from crypto_agent.cms.recipients import (
    RECIPIENT_LIMIT,
    Entry,
    Way,
    read_entries,
    way_in,
    write_entry,
)
from crypto_agent.cms.tlv import Cursor, Octets

CipherName = Literal["aes-256-cbc", "aes-256-gcm"]

CONTENT_KEY_SIZE: Final = 32
ATTRIBUTES_SIZE_LIMIT: Final = 1024 * 1024
"""Octets of the authenticated attributes, which are hashed whole."""


@dataclass(frozen=True)
class Decrypted:
    """An opened envelope."""

    content: bytes = field(repr=False)
    content_type: str
    """Dotted OID of what is inside; id-data in mail."""
    cipher: str
    """Such as ``AES-256-GCM``, ``AES-128-CBC``, ``3DES-CBC``, ``RC2-128-CBC``."""
    authenticated: bool
    """Whether the cipher proves that nobody changed the content (AuthEnvelopedData)."""
    key_transport: str
    """Such as ``RSA-PKCS1-v1.5``, ``RSA-OAEP-SHA256``, ``ECDH-P-256``, ``X25519``."""
    weak: bool
    """An algorithm that is only read for old mail (3DES, RC2, RSA below 2048 bits)."""
    key_id: str
    recipients: int
    """How many recipient entries the envelope has."""


@dataclass(frozen=True)
class Envelope:
    """What an envelope says about itself; no key was used."""

    content_type: str
    cipher: ContentCipher
    entries: tuple[Entry, ...]
    recipients: int
    chunks: tuple[memoryview, ...] = field(repr=False)
    tag: bytes
    aad: bytes = field(repr=False)


# --------------------------------------------------------------------------- writing


def encrypt(
    content: Octets,
    certificates: Sequence[bytes],
    *,
    content_cipher: CipherName,
    oaep: OaepParameters | None = None,
    derived_key: bool = False,
) -> bytes:
    """ContentInfo DER with one recipient entry per certificate (1 to 1,000, DER each).

    ``aes-256-gcm`` makes AuthEnvelopedData, ``aes-256-cbc`` EnvelopedData. RSA keys get PKCS#1 v1.5
    key transport, or OAEP when ``oaep`` is given; P-256/384/521 ECDH (RFC 5753); X25519 (RFC 8418);
    ML-KEM (RFC 9936). ``derived_key``: CEK-HKDF (RFC 9709), for readers who all announced it.
    The same certificate twice is one entry.
    Raises CmsError (certificate.refused, cms.too_complex).
    """
    wanted = list(dict.fromkeys(certificates))
    if not wanted:
        raise CmsError(CERTIFICATE)
    if len(wanted) > RECIPIENT_LIMIT:
        raise CmsError(TOO_COMPLEX)
    key = secrets.token_bytes(CONTENT_KEY_SIZE)
    entries = [write_entry(parts(certificate), key, oaep) for certificate in wanted]
    sealed = seal(content, key, content_cipher, derived=derived_key)
    encrypted = der.wrap(
        der.SEQUENCE,
        [der.oid(oids.DATA), sealed.algorithm, *der.wrap(der.CONTEXT, sealed.pieces)],
    )
    recipients = der.set_of(entry.encoded for entry in entries)
    if content_cipher == "aes-256-gcm":
        # RFC 5083 §2.1: version is 0
        body = [der.integer(0), recipients, *encrypted, der.octet_string(sealed.tag)]
        return content_info(oids.AUTH_ENVELOPED_DATA, der.wrap(der.SEQUENCE, body))
    # RFC 5652 §6.1: 3 with other recipients, 0 when all entries are version 0, else 2
    highest = max(entry.version for entry in entries)
    version = 3 if highest == 4 else 2 if highest else 0
    body = [der.integer(version), recipients, *encrypted]
    return content_info(oids.ENVELOPED_DATA, der.wrap(der.SEQUENCE, body))


# --------------------------------------------------------------------------- reading


def read(data: Octets) -> Envelope:
    """Parse an envelope and refuse what we do not read, before any key is touched.

    Raises CmsError (cms.damaged, cms.unsupported, cms.too_complex).
    """
    kind, cursor = open_content(data, oids.ENVELOPED_DATA, oids.AUTH_ENVELOPED_DATA)
    authenticated = kind == oids.AUTH_ENVELOPED_DATA
    cursor.enter()
    cursor.small_integer()  # version follows from the rest (RFC 5652 §6.1)
    if cursor.at(der.CONTEXT_CONSTRUCTED):  # originatorInfo: certificates of static senders
        cursor.skip()
    entries, recipients = read_entries(cursor)
    cursor.enter()  # encryptedContentInfo
    content_type = cursor.oid()
    cipher = cipher_of(cursor.algorithm())
    # An authenticated cipher outside AuthEnvelopedData has no tag, an unauthenticated one inside it
    # no proof: either is an attack or a mistake (CVE-2026-34182; RFC 5083 §2)
    if cipher.authenticated != authenticated:
        raise CmsError(UNSUPPORTED)
    if cursor.at_end():  # detached ciphertext has no place in mail
        raise CmsError(UNSUPPORTED)
    chunks = cursor.chunks(der.CONTEXT)
    cursor.leave()
    tag = aad = b""
    if authenticated:
        if cursor.at(der.CONTEXT_CONSTRUCTED | 1):
            attributes = cursor.raw()
            if len(attributes) > ATTRIBUTES_SIZE_LIMIT:
                raise CmsError(TOO_COMPLEX)
            aad = _authenticated(attributes)
        tag = cursor.octets()
        if len(tag) != cipher.tag_size:
            raise CmsError(DAMAGED)
    while not cursor.at_end():  # unprotected attributes prove nothing and are not read
        cursor.skip()
    cursor.leave()
    close_content(cursor)
    return Envelope(content_type, cipher, tuple(entries), recipients, tuple(chunks), tag, aad)


def _authenticated(attributes: bytes) -> bytes:
    """authAttrs as they are authenticated: DER, identifier octet of SET OF (RFC 5083 §2.2).

    The members are taken as they stand and put in DER's order; a change to any of them, or to their
    order by somebody else than the sender, is for the tag to find.
    """
    cursor = Cursor(attributes)
    cursor.enter(der.CONTEXT_CONSTRUCTED | 1)
    members = []
    while not cursor.at_end():
        members.append(cursor.raw(der.SEQUENCE))
    return der.set_of(members)


def decrypt(data: Octets, keys: Sequence[DecryptionKey]) -> Decrypted:
    """Open an envelope with whichever of ``keys`` it is for.

    Raises CmsError: decrypt.no_key when it is for none of them, decrypt.failed for every other way
    in which opening fails; and before any key is used cms.damaged, cms.unsupported,
    cms.too_complex.
    """
    envelope = read(data)
    way = _find_way(envelope, keys)
    # Step 3: the content key. Whatever goes wrong with it, a random one takes its place, so that
    # the same work follows and the same answer comes out (RFC 3218 §2.3.2, Bleichenbacher)
    substitute = secrets.token_bytes(envelope.cipher.key_size)
    key = way.content_key()
    if key is None or len(key) != envelope.cipher.key_size:
        key = substitute
    # Step 4: the content, with one answer for padding, tag and length
    try:
        content = envelope.cipher.decrypt(key, envelope.chunks, tag=envelope.tag, aad=envelope.aad)
    except Exception:
        raise CmsError(DECRYPT_FAILED) from None
    return Decrypted(
        content=content,
        content_type=envelope.content_type,
        cipher=envelope.cipher.name,
        authenticated=envelope.cipher.authenticated,
        key_transport=way.name,
        weak=way.weak or envelope.cipher.weak,
        key_id=way.key.key_id,
        recipients=envelope.recipients,
    )


def _find_way(envelope: Envelope, keys: Sequence[DecryptionKey]) -> Way:
    """Steps 1 and 2: the first entry for one of our keys whose algorithms we read.

    Only one entry is ever tried: trying the next after a failure would answer "did the first
    decrypt?" (Bleichenbacher with two entries, CVE-2026-42768). Raises CmsError (no_key,
    unsupported).
    """
    ours: list[tuple[DecryptionKey, Parts]] = [(key, parts(key.certificate)) for key in keys]
    serials = {certificate.serial for _, certificate in ours}
    matched = False
    for entry in envelope.entries:
        if entry.recipient.key_identifier is None and entry.recipient.serial not in serials:
            continue
        for key, certificate in ours:
            if entry.recipient.means(certificate):
                matched = True
                if way := way_in(entry, key, certificate):
                    return way
    raise CmsError(UNSUPPORTED if matched else NO_KEY)
