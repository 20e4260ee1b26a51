"""The built-in certificate authority: make it, issue certificates, publish revocation lists.

Plain functions of ``(context, payload)``; the service agent around them loads and keeps the sealed
state. Private keys leave this module only through ``context.store``.

Everything is RSA with SHA-256, the root with 4096 bits and the rest with 3072: Outlook, iPhone,
Thunderbird and gpgsm 2.2 all take it (gpgsm 2.2 and older Outlook reject parts of ECDSA), and
checking RSA is the cheap direction: 0.08 ms for RSA-4096 where P-384 needs 0.55 ms, at every
opening of every mail. The price, some seconds of key generation, is paid once.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
    ObjectIdentifier,
)

from crypto_agent.protocol import ErrorCode, ProtocolError
from crypto_agent.trust.addresses import AddressError, holds_control, split_address
from crypto_agent.trust.levels import MAILBOX_LEGACY, MAILBOX_STRICT, OWN_POLICIES
from crypto_agent.trust.strength import WeakKey, check_hash, check_key


class Context(Protocol):
    """What the service agent gives to an operation."""

    @property
    def state(self) -> dict[str, Any]:
        """What was last kept for this service; empty at first."""

    @property
    def store(self) -> Callable[[str, dict[str, Any]], None]:
        """Seals the state of a named service; returns when it is on disk."""


AUTHORITY: Final = "authority"
"""``{"root": S, "issuing": {"V1": S}, "base_url", "domains", "public": result of init}``, where S
is ``{"key": PKCS#8, "certificate": der}``."""
TIMESTAMP: Final = "timestamp"
"""``{"key": PKCS#8, "certificate": der, "chain": [root der]}``."""
POSTMASTER: Final = "postmaster"
"""``{"address": str, "keys": [{"purpose": "sign" | "encrypt", "key": PKCS#8, "certificate": der,
"chain": [issuing der, root der]}]}``."""

ROOT_BITS: Final = 4096
KEY_BITS: Final = 3072
ROOT_DAYS: Final = 20 * 365
ISSUING_DAYS: Final = 10 * 365
TIMESTAMP_DAYS: Final = 6 * 365
SIGN_DAYS: Final = 396
"""13 months: a lost signing key must not serve for long."""
ENCRYPT_DAYS: Final = 1185
"""39 months, the longest that S/MIME BR §6.3.2 knows: a change costs every correspondent work."""
BACKDATE: Final = dt.timedelta(hours=1)
"""Certificates are valid from an hour ago, for peers whose clocks are behind."""
CRL_LIFETIME: Final = dt.timedelta(days=7)
"""Made anew every day; a week of grace while nobody restarts a broken machine."""
TEXT_LIMIT: Final = 64
"""RFC 5280 appendix A: upper bound of commonName and organizationName."""
ADDRESSES_LIMIT: Final = 20

_EXPIRED_CERTS_ON_CRL: Final = ObjectIdentifier("2.5.29.60")

_PURPOSE_DAYS: Final = {"sign": SIGN_DAYS, "encrypt": ENCRYPT_DAYS}

_CRL_REASONS: Final = {
    flag.value: flag
    for flag in (
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.privilege_withdrawn,
    )
}


# --------------------------------------------------------------------------- state


@dataclass(frozen=True)
class _Signer:
    """A key of the authority with the certificate that speaks for it."""

    key: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate
    der: bytes

    def record(self) -> dict[str, bytes]:
        return {"key": key_to_der(self.key), "certificate": self.der}

    @classmethod
    def from_record(cls, record: Mapping[str, bytes]) -> _Signer:
        der = bytes(record["certificate"])
        return cls(load_key(record["key"]), x509.load_der_x509_certificate(der), der)


@dataclass(frozen=True)
class _Authority:
    root: _Signer
    issuing: Mapping[str, _Signer]
    base_url: str
    domains: tuple[str, ...]


def key_to_der(key: rsa.RSAPrivateKey) -> bytes:
    """PKCS#8, for the sealed store only."""
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_key(der: bytes) -> rsa.RSAPrivateKey:
    """A key from our own sealed store; re-validating it would cost 50 ms and prove nothing new."""
    key = serialization.load_der_private_key(
        bytes(der), password=None, unsafe_skip_rsa_key_validation=True
    )
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "authority key")
    return key


def _load(state: Mapping[str, Any]) -> _Authority:
    if not state.get("root"):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "the authority is not set up")
    return _Authority(
        root=_Signer.from_record(state["root"]),
        issuing={level: _Signer.from_record(signer) for level, signer in state["issuing"].items()},
        base_url=str(state["base_url"]),
        domains=tuple(state["domains"]),
    )


# --------------------------------------------------------------------------- checks of input


def _refuse(detail: str) -> ProtocolError:
    return ProtocolError(ErrorCode.CERTIFICATE_REFUSED, detail)


def _text(payload: Mapping[str, Any], name: str, *, limit: int = TEXT_LIMIT) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > limit:
        raise ProtocolError(ErrorCode.BAD_REQUEST, f"{name}: text of 1 to {limit} characters")
    if holds_control(value):
        raise _refuse(f"{name} holds control characters")
    return value.strip()


def _country(payload: Mapping[str, Any]) -> str:
    country = _text(payload, "country", limit=2)
    if len(country) != 2 or not (country.isascii() and country.isalpha()):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "country: two letters (ISO 3166)")
    return country.upper()


def _base_url(payload: Mapping[str, Any]) -> str:
    url = _text(payload, "base_url", limit=200).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
        raise ProtocolError(ErrorCode.BAD_REQUEST, "base_url: http(s)://host")
    return url


def _now(payload: Mapping[str, Any]) -> dt.datetime:
    """The caller's ``now`` (milliseconds), else the clock; whole seconds, as X.509 has them."""
    now = payload.get("now")
    seconds = time.time() if now is None else int(now) / 1000
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC)


def _moment(value: object) -> dt.datetime:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "a time in milliseconds")
    return dt.datetime.fromtimestamp(value // 1000, dt.UTC)


def _check_addresses(addresses: object, domains: Sequence[str]) -> list[str]:
    """Raises ProtocolError (certificate_refused) for whatever must not be certified."""
    if not isinstance(addresses, list) or not 1 <= len(addresses) <= ADDRESSES_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, f"1 to {ADDRESSES_LIMIT} addresses")
    checked: list[str] = []
    for address in addresses:
        try:
            local, domain = split_address(str(address))
        except AddressError as error:
            raise _refuse("malformed address") from error
        if "*" in local:  # a pattern to some readers, a mailbox to others
            raise _refuse("wildcard address")
        if domains and domain not in domains:
            raise _refuse("the address is not in a domain of this organisation")
        canonical = f"{local}@{domain}"
        if canonical not in checked:
            checked.append(canonical)
    return checked


def _check_request(der: object) -> x509.CertificateSigningRequest:
    """PKCS#10 (RFC 2986): nothing but its public key is used, and only after its own signature."""
    if not isinstance(der, bytes) or len(der) > 16_384:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "csr")
    try:
        untrusted_request = x509.load_der_x509_csr(der)
        check_key(untrusted_request.public_key())
        if untrusted_request.signature_hash_algorithm is not None:
            check_hash(untrusted_request.signature_hash_algorithm.name)
        valid = untrusted_request.is_signature_valid
    except WeakKey as error:
        raise _refuse("the key of the request is too weak") from error
    except Exception as error:  # pyca raises several kinds for damaged structures
        raise _refuse("the request cannot be read") from error
    if not valid:
        raise _refuse("the request is not signed by its own key")
    return untrusted_request


# --------------------------------------------------------------------------- building


def _key_usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


_CA_USAGE: Final = _key_usage(key_cert_sign=True, crl_sign=True)


def _organisation_name(organisation: str, country: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:TEXT_LIMIT]),
        ]
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Any,
    issuer_key: rsa.RSAPublicKey,
    not_before: dt.datetime,
    not_after: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        # S/MIME BR §7.1: at least 64 random bits; we take 159 of the 160 that fit
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )


def _with_sources(
    builder: x509.CertificateBuilder, base_url: str, issuer_file: str
) -> x509.CertificateBuilder:
    """Where to find the issuer's certificate and its revocation list (RFC 5280 §4.2.2.1, .1.13)."""
    return builder.add_extension(
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(
                    AuthorityInformationAccessOID.CA_ISSUERS,
                    x509.UniformResourceIdentifier(f"{base_url}/pki/{issuer_file}.crt"),
                )
            ]
        ),
        critical=False,
    ).add_extension(
        x509.CRLDistributionPoints(
            [
                x509.DistributionPoint(
                    full_name=[x509.UniformResourceIdentifier(f"{base_url}/pki/{issuer_file}.crl")],
                    relative_name=None,
                    reasons=None,
                    crl_issuer=None,
                )
            ]
        ),
        critical=False,
    )


def _policies(*oids: str) -> x509.CertificatePolicies:
    return x509.CertificatePolicies(
        [x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in oids]
    )


def _der(certificate: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _alternative_name(address: str) -> x509.GeneralName:
    """rfc822Name; SmtpUTF8Mailbox (RFC 9598 §3) only where the local part is not ASCII."""
    if address.isascii():
        return x509.RFC822Name(address)
    text = address.encode()
    length = bytes([len(text)]) if len(text) < 0x80 else bytes([0x81, len(text)])
    return x509.OtherName(
        ObjectIdentifier("1.3.6.1.5.5.7.8.9"),
        b"\x0c" + length + text,
    )


def _mailbox_certificate(
    issuer: _Signer,
    *,
    base_url: str,
    key: Any,
    addresses: Sequence[str],
    purpose: str,
    not_before: dt.datetime,
    not_after: dt.datetime,
) -> bytes:
    """A V1 certificate: it says that this key's holder reads these mailboxes, and nothing else."""
    first = addresses[0]
    if first.isascii() and len(first) <= TEXT_LIMIT:
        # S/MIME BR §7.1.4.2.2 (a): the common name of a mailbox certificate is the mailbox
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, first)])
    else:
        subject = x509.Name([])
    if purpose == "sign":
        # without nonRepudiation: gpgsm and some gateways treat such keys as "qualified"
        usage = _key_usage(digital_signature=True)
        policies = _policies(OWN_POLICIES["V1"], MAILBOX_STRICT)
    else:
        agreement = isinstance(key, ec.EllipticCurvePublicKey)
        usage = _key_usage(key_agreement=agreement, key_encipherment=not agreement)
        # the strict generation ends at 825 days; the legacy one has these 39 months
        policies = _policies(OWN_POLICIES["V1"], MAILBOX_LEGACY)
    builder = _builder(
        subject,
        issuer.certificate.subject,
        key,
        issuer.key.public_key(),
        not_before,
        not_after,
    )
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
        .add_extension(policies, critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_alternative_name(address) for address in addresses]),
            # RFC 5280 §4.2.1.6: critical where the subject is empty
            critical=not list(subject),
        )
    )
    builder = _with_sources(builder, base_url, "v1")
    return _der(builder.sign(issuer.key, hashes.SHA256()))


# --------------------------------------------------------------------------- operations


def init(context: Context, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Make root, issuing CA V1, time stamp and postmaster keys; when made before, only tell them.

    ``payload``: ``organisation`` (text), ``country`` (two letters), ``base_url`` (where ``/pki/``
    is served), optionally ``postmaster`` (address; default postmaster@host of base_url),
    ``domains`` (list: then only addresses there can be certified, also by name constraint) and
    ``now`` (ms). Result: ``{"root": der, "issuing": {"V1": der}, "tsa": der, "postmaster":
    {"address", "sign": der, "encrypt": der}, "created": bool}``. Raises ProtocolError.

    Keeps the state of three services: :data:`AUTHORITY`, :data:`TIMESTAMP`, :data:`POSTMASTER`.
    """
    if context.state.get("root"):
        return {**context.state["public"], "created": False}
    return {**_make(context, payload), "created": True}


def _make(context: Context, payload: Mapping[str, Any]) -> dict[str, Any]:
    organisation = _text(payload, "organisation")
    country = _country(payload)
    base_url = _base_url(payload)
    now = _now(payload)
    start = now - BACKDATE
    domains = [str(domain).lower() for domain in payload.get("domains") or []]
    postmaster_address = payload.get("postmaster") or f"postmaster@{urlsplit(base_url).hostname}"
    [postmaster_address] = _check_addresses([postmaster_address], domains)

    # The root: no EKU, no limits. It signs its two children and its list, nothing else.
    root_key = rsa.generate_private_key(65537, ROOT_BITS)
    root_name = _organisation_name(organisation, country, f"{organisation} Mail Root")
    root_certificate = (
        _builder(
            root_name,
            root_name,
            root_key.public_key(),
            root_key.public_key(),
            start,
            start + dt.timedelta(days=ROOT_DAYS),
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .sign(root_key, hashes.SHA256())
    )
    root = _Signer(root_key, root_certificate, _der(root_certificate))

    # The issuing CA: mail only, no further CA below it, mailbox policies only.
    issuing_key = rsa.generate_private_key(65537, KEY_BITS)
    builder = (
        _builder(
            _organisation_name(organisation, country, f"{organisation} Mail V1"),
            root_name,
            issuing_key.public_key(),
            root_key.public_key(),
            start,
            start + dt.timedelta(days=ISSUING_DAYS),
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        )
        .add_extension(
            _policies(OWN_POLICIES["V1"], MAILBOX_LEGACY, MAILBOX_STRICT), critical=False
        )
    )
    if domains:
        builder = builder.add_extension(
            x509.NameConstraints([x509.RFC822Name(domain) for domain in domains], None),
            # RFC 5280 §4.2.1.10 wants it critical; gpgsm refuses every critical one it does not
            # know, this one among them, and those who know it apply it either way
            critical=False,
        )
    issuing_certificate = _with_sources(builder, base_url, "root").sign(root_key, hashes.SHA256())
    issuing = _Signer(issuing_key, issuing_certificate, _der(issuing_certificate))

    # RFC 3161 §2.3: timeStamping is the sole extended usage, and critical.
    timestamp_key = rsa.generate_private_key(65537, KEY_BITS)
    builder = (
        _builder(
            _organisation_name(organisation, country, f"{organisation} Time Stamp"),
            root_name,
            timestamp_key.public_key(),
            root_key.public_key(),
            start,
            start + dt.timedelta(days=TIMESTAMP_DAYS),
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    )
    timestamp_der = _der(_with_sources(builder, base_url, "root").sign(root_key, hashes.SHA256()))

    keys: list[dict[str, Any]] = []
    for purpose, days in _PURPOSE_DAYS.items():
        key = rsa.generate_private_key(65537, KEY_BITS)
        certificate = _mailbox_certificate(
            issuing,
            base_url=base_url,
            key=key.public_key(),
            addresses=[postmaster_address],
            purpose=purpose,
            not_before=start,
            not_after=start + dt.timedelta(days=days),
        )
        keys.append(
            {
                "purpose": purpose,
                "key": key_to_der(key),
                "certificate": certificate,
                "chain": [issuing.der, root.der],
            }
        )

    context.store(
        TIMESTAMP,
        {"key": key_to_der(timestamp_key), "certificate": timestamp_der, "chain": [root.der]},
    )
    context.store(POSTMASTER, {"address": postmaster_address, "keys": keys})
    public = {
        "root": root.der,
        "issuing": {"V1": issuing.der},
        "tsa": timestamp_der,
        "postmaster": {
            "address": postmaster_address,
            **{entry["purpose"]: entry["certificate"] for entry in keys},
        },
    }
    # last, so that a crash before it starts over instead of leaving half an authority
    context.store(
        AUTHORITY,
        {
            "root": root.record(),
            "issuing": {"V1": issuing.record()},
            "base_url": base_url,
            "domains": domains,
            "public": public,
        },
    )
    return public


def issue(context: Context, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Certify one key for mailboxes.

    ``payload``: ``csr`` (DER, PKCS#10), ``addresses`` (1 to 20), ``purpose`` ("sign" or
    "encrypt"), ``level`` ("V1"; the others need people who check papers), optionally
    ``not_before`` and ``not_after`` (ms; never longer than the purpose allows) and ``now``.
    Result: ``{"certificate": der, "chain": [issuing der, root der]}``. Raises ProtocolError:
    bad_request, certificate_refused.
    """
    purpose = payload.get("purpose")
    if purpose not in _PURPOSE_DAYS:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "purpose: sign or encrypt")
    if payload.get("level", "V1") != "V1" or payload.get("name"):
        # a mailbox check proves no name; certifying one anyway would raise the level by a field
        raise _refuse("this authority certifies mailboxes only (V1), without names")
    authority = _load(context.state)
    issuer = authority.issuing["V1"]
    addresses = _check_addresses(payload.get("addresses"), authority.domains)
    request = _check_request(payload.get("csr"))
    key = request.public_key()
    if purpose == "encrypt" and isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raise _refuse("this kind of key cannot encrypt")

    now = _now(payload)
    earliest = now - dt.timedelta(days=1)
    not_before = now - BACKDATE
    if payload.get("not_before") is not None:
        not_before = max(_moment(payload["not_before"]), earliest)
    latest = min(
        not_before + dt.timedelta(days=_PURPOSE_DAYS[purpose]),
        issuer.certificate.not_valid_after_utc,
    )
    not_after = latest
    if payload.get("not_after") is not None:
        not_after = min(_moment(payload["not_after"]), latest)
    if not_after <= max(not_before, now):
        raise _refuse("the certificate would never be valid")
    certificate = _mailbox_certificate(
        issuer,
        base_url=authority.base_url,
        key=key,
        addresses=addresses,
        purpose=str(purpose),
        not_before=not_before,
        not_after=not_after,
    )
    return {"certificate": certificate, "chain": [issuer.der, authority.root.der]}


def crl(context: Context, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Sign a complete revocation list (RFC 5280 §5).

    ``payload``: ``which`` ("root" or "V1"), ``number`` (grows with every list), ``revoked``
    (list of ``{"serial": hex, "at": ms, "reason": text}``), optionally ``now``. Result:
    ``{"crl": der}``. Entries stay on the list after their certificates expired, and the list says
    so, because old signatures are judged at old times.
    """
    authority = _load(context.state)
    which = payload.get("which", "V1")
    signer = authority.root if which == "root" else authority.issuing.get(str(which))
    number = payload.get("number")
    revoked = payload.get("revoked")
    if signer is None or not isinstance(number, int) or number < 1 or not isinstance(revoked, list):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "which, number, revoked")
    now = _now(payload)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(now)
        .next_update(now + CRL_LIFETIME)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
            critical=False,
        )
        .add_extension(
            x509.UnrecognizedExtension(
                _EXPIRED_CERTS_ON_CRL, _generalized_time(signer.certificate.not_valid_before_utc)
            ),
            critical=False,
        )
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(_revoked(entry))
    return {"crl": _der(builder.sign(signer.key, hashes.SHA256()))}


def _generalized_time(moment: dt.datetime) -> bytes:
    """DER GeneralizedTime (X.509 §9.5.2.8, expiredCertsOnCRL)."""
    text = moment.strftime("%Y%m%d%H%M%SZ").encode()
    return bytes([0x18, len(text)]) + text


def _revoked(entry: object) -> x509.RevokedCertificate:
    if not isinstance(entry, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "revoked entry")
    try:
        serial = int(str(entry["serial"]), 16)
    except (KeyError, ValueError) as error:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "serial in hexadecimal") from error
    builder = (
        x509.RevokedCertificateBuilder()
        .serial_number(serial)
        .revocation_date(_moment(entry.get("at")))
    )
    reason = _CRL_REASONS.get(str(entry.get("reason", "")))
    if reason is not None:  # RFC 5280 §5.3.1: "unspecified" is said by leaving the reason out
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()
