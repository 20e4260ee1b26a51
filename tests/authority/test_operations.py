"""The authority's operations: what they make, and what they refuse. openssl and gpgsm judge."""

from __future__ import annotations

import datetime as dt
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from crypto_agent.operations import authority
from crypto_agent.protocol import ErrorCode, ProtocolError, pack, unpack
from crypto_agent.trust.identity import describe
from crypto_agent.trust.levels import OWN_POLICIES
from crypto_agent.trust.path import Certificate, Pool, Purpose, find_path
from crypto_agent.trust.revocation import Evidence, check_chain
from tests.trust.pki import DAY, ms, openssl_verify, rsa_key

DER = serialization.Encoding.DER
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
SETUP = {"organisation": "Example", "country": "de", "base_url": "https://mail.example.test/"}


class Desk:
    """The states of the services, as their agents keep them: packed, and by name."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    @property
    def state(self) -> dict[str, Any]:
        return self.of("authority")

    def of(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = unpack(self.kept[name]) if name in self.kept else {}
        return state

    def store(self, name: str, state: dict[str, Any]) -> None:
        self.kept[name] = pack(state)


@pytest.fixture(scope="module")
def desk() -> Desk:
    desk = Desk()
    authority.init(desk, SETUP)
    return desk


@pytest.fixture(scope="module")
def made(desk: Desk) -> dict[str, Any]:
    return authority.init(desk, {})


def csr(key: Any = None, subject: x509.Name | None = None) -> bytes:
    key = key or ec.generate_private_key(ec.SECP256R1())
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject or x509.Name([]))
    return builder.sign(key, digest).public_bytes(DER)


def issue(desk: Desk, **changes: Any) -> dict[str, Any]:
    payload = {"csr": csr(), "addresses": ["bob@example.test"], "purpose": "sign", "level": "V1"}
    return authority.issue(desk, {**payload, **changes})


def parsed(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def extension(der: bytes, kind: type[x509.ExtensionType]) -> Any:
    return parsed(der).extensions.get_extension_for_class(kind)


# --------------------------------------------------------------------------- setting up


def test_setting_up_twice_changes_nothing(desk: Desk, made: dict[str, Any]) -> None:
    before = dict(desk.kept)
    assert authority.init(desk, SETUP)["root"] == made["root"]
    assert made["created"] is False
    assert desk.kept == before


def test_a_setup_that_broke_off_starts_over() -> None:
    class Crash(Exception):
        pass

    class Breaking(Desk):
        def store(self, name: str, state: dict[str, Any]) -> None:
            if name == "authority":
                raise Crash
            super().store(name, state)

    broken = Breaking()
    with pytest.raises(Crash):
        authority.init(broken, SETUP)
    whole = Desk()
    whole.kept = broken.kept
    made = authority.init(whole, SETUP)
    assert made["created"] is True
    assert whole.of("timestamp")["certificate"] == made["tsa"]


def test_each_service_gets_its_own_key_and_no_other(desk: Desk, made: dict[str, Any]) -> None:
    root_key = desk.state["root"]["key"]
    for name in ("timestamp", "postmaster"):
        assert root_key not in desk.kept[name]
        assert desk.state["issuing"]["V1"]["key"] not in desk.kept[name]
    assert root_key in desk.kept["authority"]  # positive control
    for der in (made["root"], made["tsa"]):
        assert root_key not in der


def test_the_issuing_ca_is_for_mail_and_ends_the_chain(made: dict[str, Any]) -> None:
    der = made["issuing"]["V1"]
    basic = extension(der, x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert list(extension(der, x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.EMAIL_PROTECTION
    ]


def test_the_time_stamp_certificate_is_for_time_stamps_alone(
    made: dict[str, Any], tmp_path: Path
) -> None:
    usage = extension(made["tsa"], x509.ExtendedKeyUsage)
    assert usage.critical
    assert list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
    accepted, words = openssl_verify(
        tmp_path,
        made["tsa"],
        anchors=[made["root"]],
        at=NOW,
        purpose="timestampsign",
        arguments=["-x509_strict"],
    )
    assert accepted, words


@pytest.mark.parametrize(
    "change",
    [
        {"organisation": ""},
        {"organisation": "Example\r\nEvil"},
        {"organisation": "Example\0Evil"},
        {"country": "Germany"},
        {"country": "1!"},
        {"base_url": "ftp://example.test"},
        {"base_url": "https://mail.example.test/\r\nX"},
        {"postmaster": "post master@example.test"},
    ],
)
def test_a_bad_setup_is_refused_before_a_key_is_made(change: dict[str, str]) -> None:
    desk = Desk()
    start = time.process_time()
    with pytest.raises(ProtocolError):
        authority.init(desk, {**SETUP, **change})
    assert not desk.kept
    assert time.process_time() - start < 0.1


# --------------------------------------------------------------------------- issuing


@pytest.mark.parametrize(
    ("purpose", "openssl_purpose", "days"),
    [("sign", "smimesign", 396), ("encrypt", "smimeencrypt", 1185)],
)
def test_certificates_are_good_for_their_purpose_here_and_at_openssl(
    purpose: str, openssl_purpose: str, days: int, desk: Desk, made: dict[str, Any], tmp_path: Path
) -> None:
    answer = issue(desk, csr=csr(rsa_key(3072)), purpose=purpose)
    der, chain = answer["certificate"], answer["chain"]
    certificate = parsed(der)
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == days
    assert chain == [made["issuing"]["V1"], made["root"]]
    accepted, words = openssl_verify(
        tmp_path,
        der,
        intermediates=[chain[0]],
        anchors=[chain[1]],
        at=NOW,
        purpose=openssl_purpose,
        arguments=["-x509_strict", "-check_ss_sig"],
    )
    assert accepted, words
    leaf = Certificate(der)
    pool = Pool(anchors=[chain[1]], intermediates=[chain[0]])
    path = find_path(leaf, pool, at=NOW, purpose=Purpose(purpose))
    described = describe(leaf, path)
    assert (described["level"], described["addresses"]) == ("V1", ["bob@example.test"])
    assert described["name"] == described["organisation"] == ""
    assert OWN_POLICIES["V1"] in leaf.policies
    assert described["crl_urls"] == [
        "https://mail.example.test/pki/v1.crl",
        "https://mail.example.test/pki/root.crl",
    ]


def test_elliptic_keys_agree_and_rsa_keys_encipher(desk: Desk) -> None:
    elliptic = issue(desk, purpose="encrypt")["certificate"]
    with_rsa = issue(desk, csr=csr(rsa_key(2048)), purpose="encrypt")["certificate"]
    assert extension(elliptic, x509.KeyUsage).value.key_agreement
    assert extension(with_rsa, x509.KeyUsage).value.key_encipherment
    edwards = issue(desk, csr=csr(ed25519.Ed25519PrivateKey.generate()))["certificate"]
    assert extension(edwards, x509.KeyUsage).value.digital_signature


def test_serial_numbers_are_long_and_random(desk: Desk) -> None:
    serials = {parsed(issue(desk)["certificate"]).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(serial.bit_length() <= 159 for serial in serials)
    assert max(serial.bit_length() for serial in serials) > 140


def test_nothing_but_the_key_is_taken_from_a_request(desk: Desk) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "The Boss")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.RFC822Name("boss@example.test")]), critical=False
        )
    )
    der = issue(desk, csr=builder.sign(key, hashes.SHA256()).public_bytes(DER))["certificate"]
    certificate = parsed(der)
    assert certificate.public_key() == key.public_key()
    assert "Boss" not in certificate.subject.rfc4514_string()
    assert not extension(der, x509.BasicConstraints).value.ca
    names = extension(der, x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["bob@example.test"]


def test_international_addresses_are_written_in_their_own_form(desk: Desk) -> None:
    addresses = ["søren@example.test", "bob@bücher.example"]
    der = issue(desk, addresses=addresses)["certificate"]
    leaf = Certificate(der)
    assert describe(leaf, None)["addresses"] == [
        "søren@example.test",
        "bob@xn--bcher-kva.example",
    ]
    names = parsed(der).extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    assert names.critical  # the subject is empty then


@pytest.mark.parametrize(
    "address",
    [
        "bob@example.test\r\nmallory@example.test",
        "bob@example.test\0",
        "bob\n@example.test",
        "bob",
        "@example.test",
        "bob@",
        "bob@example..test",
        "*@example.test",
        "bob@*.example.test",
        "Bob <bob@example.test>",
        "bob@example.test,mallory@example.test",
        "b" * 300 + "@example.test",
        "",
    ],
)
def test_what_is_no_address_is_not_certified(address: str, desk: Desk) -> None:
    with pytest.raises(ProtocolError) as refused:
        issue(desk, addresses=["bob@example.test", address])
    assert refused.value.code is ErrorCode.CERTIFICATE_REFUSED
    if len(address) > 3:
        assert address not in str(refused.value)  # refusals go into logs


@pytest.mark.parametrize("addresses", [[], None, "bob@example.test", ["a@example.test"] * 21])
def test_the_list_of_addresses_must_be_one(addresses: Any, desk: Desk) -> None:
    with pytest.raises(ProtocolError):
        issue(desk, addresses=addresses)


def test_names_and_higher_levels_are_not_for_the_asking(desk: Desk) -> None:
    for change in ({"level": "V2"}, {"level": "V4"}, {"name": "The Boss"}):
        with pytest.raises(ProtocolError) as refused:
            issue(desk, **change)
        assert refused.value.code is ErrorCode.CERTIFICATE_REFUSED
    issue(desk)  # positive control


def test_a_request_must_be_signed_by_its_own_strong_key(desk: Desk) -> None:
    good = csr()
    forged = good[:-1] + bytes([good[-1] ^ 1])
    alices, mallorys = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    spki = [
        key.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        for key in (alices, mallorys)
    ]
    stolen = csr(mallorys).replace(spki[1], spki[0])  # Alice's key, signed by Mallory
    assert spki[0] in stolen
    weak = csr(rsa.generate_private_key(65537, 1024))
    for request in (forged, stolen, weak, b"", b"\x30\x00", good + b"\x00" * 20_000):
        with pytest.raises(ProtocolError):
            issue(desk, csr=request)
    issue(desk, csr=good)  # positive control


def test_a_certificate_never_lives_longer_than_its_purpose_allows(desk: Desk) -> None:
    der = issue(desk, not_before=ms(NOW - 500 * DAY), not_after=ms(NOW + 5000 * DAY))["certificate"]
    certificate = parsed(der)
    assert certificate.not_valid_before_utc >= NOW - dt.timedelta(days=1, minutes=5)
    assert certificate.not_valid_after_utc <= NOW + 397 * DAY
    short = parsed(issue(desk, not_after=ms(NOW + 2 * DAY))["certificate"])
    assert short.not_valid_after_utc == NOW + 2 * DAY
    with pytest.raises(ProtocolError):
        issue(desk, not_after=ms(NOW - DAY))


def test_an_authority_of_one_domain_certifies_no_other(tmp_path: Path) -> None:
    bound = Desk()
    setup = {**SETUP, "domains": ["example.test"], "postmaster": "postmaster@example.test"}
    made = authority.init(bound, setup)
    answer = issue(bound)
    with pytest.raises(ProtocolError) as refused:
        issue(bound, addresses=["mallory@bank.test"])
    assert refused.value.code is ErrorCode.CERTIFICATE_REFUSED
    assert extension(made["issuing"]["V1"], x509.NameConstraints).value.permitted_subtrees
    accepted, words = openssl_verify(
        tmp_path,
        answer["certificate"],
        intermediates=[answer["chain"][0]],
        anchors=[made["root"]],
        at=NOW,
    )
    assert accepted, words


def test_issuing_before_setting_up_is_refused() -> None:
    for operation in (authority.issue, authority.crl):
        with pytest.raises(ProtocolError):
            operation(Desk(), {"purpose": "sign"})


# --------------------------------------------------------------------------- revocation lists


def crl(desk: Desk, *revoked: dict[str, Any], **changes: Any) -> bytes:
    payload = {"which": "V1", "number": 7, "revoked": list(revoked), **changes}
    return bytes(authority.crl(desk, payload)["crl"])


def test_the_list_takes_a_certificate_back_here_and_at_openssl(
    desk: Desk, made: dict[str, Any], tmp_path: Path
) -> None:
    answer = issue(desk)
    leaf = Certificate(answer["certificate"])
    pool = Pool(anchors=[made["root"]], intermediates=[answer["chain"][0]])
    path = find_path(leaf, pool, at=NOW, purpose=Purpose.SIGN)
    soon = NOW + dt.timedelta(hours=1)
    root_list = crl(desk, which="root")
    entry = {"serial": leaf.serial, "at": ms(NOW), "reason": "keyCompromise"}

    for entries, state in (([], "good"), ([entry], "revoked")):
        listed = crl(desk, *entries)
        evidence = Evidence(crls=[root_list, listed])
        assert check_chain(path, evidence, at=soon, now=soon).state == state
        accepted, words = openssl_verify(
            tmp_path,
            answer["certificate"],
            intermediates=[answer["chain"][0]],
            anchors=[made["root"]],
            at=soon,
            crls=[root_list, listed],
            arguments=["-crl_check_all"],
        )
        assert accepted == (state == "good"), words


def test_old_signatures_stay_judgeable_after_their_certificates_expired(desk: Desk) -> None:
    answer = issue(desk)
    leaf = Certificate(answer["certificate"])
    pool = Pool(anchors=[answer["chain"][1]], intermediates=[answer["chain"][0]])
    at, later = NOW + DAY, NOW + 800 * DAY
    path = find_path(leaf, pool, at=at, purpose=Purpose.SIGN)
    evidence = Evidence(crls=[crl(desk, now=ms(later)), crl(desk, which="root", now=ms(later))])
    assert check_chain(path, evidence, at=at, now=later).state == "good"


def test_the_list_says_its_number_and_a_reason_only_where_there_is_one(desk: Desk) -> None:
    listed = x509.load_der_x509_crl(
        crl(
            desk,
            {"serial": "0a", "at": ms(NOW), "reason": "unspecified"},
            {"serial": "0b", "at": ms(NOW), "reason": "superseded"},
        )
    )
    assert listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    bare, reasoned = list(listed)
    assert len(bare.extensions) == 0
    reason = reasoned.extensions.get_extension_for_class(x509.CRLReason).value
    assert reason.reason is x509.ReasonFlags.superseded


@pytest.mark.parametrize(
    "change",
    [
        {"which": "V9"},
        {"number": 0},
        {"number": "1"},
        {"revoked": None},
        {"revoked": [{"serial": "xyz", "at": 1}]},
        {"revoked": [{"serial": "0a", "at": "now"}]},
        {"revoked": ["0a"]},
    ],
)
def test_a_bad_list_is_refused(change: dict[str, Any], desk: Desk) -> None:
    with pytest.raises(ProtocolError):
        authority.crl(desk, {"which": "V1", "number": 1, "revoked": [], **change})


# --------------------------------------------------------------------------- foreign programs


@pytest.mark.interop
def test_gpgsm_takes_the_whole_chain(desk: Desk, made: dict[str, Any], tmp_path: Path) -> None:
    answer = issue(desk, csr=csr(rsa_key(3072)))
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    root = parsed(made["root"])
    fingerprint = root.fingerprint(hashes.SHA1()).hex().upper()
    (home / "trustlist.txt").write_text(f"{fingerprint} S relax\n")

    def gpgsm(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["gpgsm", "--homedir", str(home), "--batch", "--disable-crl-checks", *arguments],
            input=data,
            capture_output=True,
            check=False,
        )

    try:
        for der in (made["root"], made["issuing"]["V1"], answer["certificate"]):
            done = gpgsm("--import", data=der)
            assert done.returncode == 0, done.stderr
        listed = gpgsm("--with-validation", "--list-keys", "bob@example.test")
        assert b"certificate is good" in listed.stdout, listed.stdout + listed.stderr
    finally:
        subprocess.run(
            ["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True
        )


@pytest.mark.interop
@pytest.mark.parametrize(("purpose", "nss_usage"), [("sign", "S"), ("encrypt", "R")])
def test_nss_takes_the_chain_for_mail(
    purpose: str, nss_usage: str, desk: Desk, made: dict[str, Any], tmp_path: Path
) -> None:
    answer = issue(desk, csr=csr(rsa_key(3072)), purpose=purpose)

    def certutil(*arguments: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["certutil", "-d", str(tmp_path), *arguments],
            input=data,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    certutil("-N", "--empty-password")
    for nickname, trust, der in (
        ("root", ",C,", made["root"]),
        ("issuing", ",,", made["issuing"]["V1"]),
        ("bob", ",,", answer["certificate"]),
    ):
        certutil("-A", "-n", nickname, "-t", trust, data=der)
    assert "certificate is valid" in certutil("-V", "-n", "bob", "-u", nss_usage, "-e")


def test_a_sha1_request_is_refused(desk: Desk) -> None:
    """cryptography signs no SHA-1; the openssl program does."""
    done = subprocess.run(
        [
            *("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null"),
            *("-sha1", "-subj", "/CN=x", "-outform", "DER"),
        ],
        capture_output=True,
        check=True,
    )
    with pytest.raises(ProtocolError) as refused:
        issue(desk, csr=done.stdout)
    assert refused.value.code is ErrorCode.CERTIFICATE_REFUSED
