"""Timestamps: our authority's, foreign ones, and those that prove nothing."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_agent.cms import der, facts, oids
from crypto_agent.cms.errors import DAMAGED, CmsError
from crypto_agent.cms.signed import finish, sign, sign_as
from crypto_agent.cms.structures import timestamp_request
from crypto_agent.cms.timestamp import (
    MISMATCH,
    REFUSED,
    read_response,
    request,
    respond,
    verify_token,
)
from crypto_agent.cms.verify import verify
from tests.cms.foreign import Openssl, Refused, run
from tests.cms.people import NOW_MS, Person, person, root, root_der

POLICY = "1.3.6.1.4.1.99999.3161.1"
IMPRINT = hashlib.sha256(b"a signature value").digest()


def authority(kind: str = "rsa2048") -> Person:
    return person(f"tsa-{kind}", kind, purpose="timestamp")


def stamped(imprint: bytes = IMPRINT, *, kind: str = "rsa2048", now: int = NOW_MS) -> bytes:
    answer = respond(request(imprint, 7), authority(kind), now=now, serial=42, policy=POLICY)
    return read_response(answer, imprint=imprint, nonce=7)


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519"])
def test_our_authority_stamps_and_the_token_proves_the_time(kind: str) -> None:
    found = verify_token(stamped(kind=kind, now=NOW_MS + 120), imprint=IMPRINT)
    assert found.fact == facts.passed(facts.TOKEN_OK)
    assert (found.gen_time, found.serial, found.policy, found.nonce) == (
        NOW_MS + 120,
        42,
        POLICY,
        7,
    )
    assert found.accuracy_ms == 1000
    assert found.certificate == authority(kind).certificate
    assert found.digest_ok
    assert found.signature_ok
    assert found.usage_ok


def test_a_token_in_a_signature_is_found_again_and_fits_it() -> None:
    alice = person("alice-p256", "p256")
    draft = sign(b"hello\r\n", alice, detached=True, signing_time=NOW_MS)
    token = stamped(draft.imprint)
    (signer,) = verify(finish(draft, token), b"hello\r\n").signers
    assert signer.signature.passed
    assert signer.tokens == (token,)
    assert verify_token(signer.tokens[0], imprint=signer.imprint).fact.passed
    with pytest.raises(CmsError):
        finish(draft, token + b"x")


def test_a_token_about_something_else_is_named() -> None:
    found = verify_token(stamped(), imprint=hashlib.sha256(b"another").digest())
    assert found.fact.code == facts.TOKEN_IMPRINT
    assert found.signature_ok


def test_a_token_by_a_key_that_is_for_mail_too_is_named() -> None:
    alice = person("alice-rsa2048", "rsa2048")
    answer = respond(request(IMPRINT, None), alice, now=NOW_MS, serial=1, policy=POLICY)
    found = verify_token(read_response(answer), imprint=IMPRINT)
    assert found.fact.code == facts.TOKEN_USAGE
    assert found.signature_ok


def test_no_octet_of_a_token_changes_what_it_proves() -> None:
    token = stamped(kind="p256")
    expected = verify_token(token, imprint=IMPRINT)
    for position in range(len(token)):
        changed = bytearray(token)
        changed[position] ^= 0x01
        found = verify_token(bytes(changed), imprint=IMPRINT)
        if found.fact.passed:
            assert (found.gen_time, found.certificate, found.serial) == (
                expected.gen_time,
                expected.certificate,
                expected.serial,
            )


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_garbage_is_damaged_and_raises_nothing(data: bytes) -> None:
    assert verify_token(data, imprint=IMPRINT).fact.code == facts.TOKEN_DAMAGED
    answer = respond(data, authority(), now=NOW_MS, serial=1, policy=POLICY)
    with pytest.raises(CmsError) as refused:
        read_response(answer)
    assert refused.value.code == REFUSED
    with pytest.raises(CmsError):
        read_response(data)


def test_a_mail_is_no_token() -> None:
    alice = person("alice-p256", "p256")
    mail = finish(sign(b"x", alice, detached=False, signing_time=NOW_MS), None)
    assert verify_token(mail, imprint=IMPRINT).fact.code == facts.TOKEN_DAMAGED
    odd = sign_as(
        b"\x30\x03\x02\x01\x01",
        authority(),
        content_type=oids.TST_INFO,
        detached=False,
        attributes=[],
    )
    assert verify_token(finish(odd, None), imprint=IMPRINT).fact.code == facts.TOKEN_DAMAGED


def test_answers_to_other_questions_are_refused() -> None:
    answer = respond(request(IMPRINT, 7), authority(), now=NOW_MS, serial=1, policy=POLICY)
    assert read_response(answer, imprint=IMPRINT, nonce=7)
    for wrong in ({"nonce": 8}, {"imprint": bytes(32)}):
        with pytest.raises(CmsError) as refused:
            read_response(answer, **wrong)
        assert refused.value.code == MISMATCH


def asked(
    *,
    version: int = 1,
    algorithm: bytes = der.algorithm(oids.DIGEST_OIDS["sha256"], der.NULL_VALUE),
    imprint: bytes = IMPRINT,
    policy: bytes = b"",
    more: bytes = b"",
) -> bytes:
    return der.sequence(
        der.integer(version),
        der.sequence(algorithm, der.octet_string(imprint)),
        policy,
        more,
    )


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (b"garbage", 5),
        (b"\x30" * 300_000, 5),
        (asked(version=2), 2),
        (asked(algorithm=der.algorithm(oids.DIGEST_OIDS["sha1"]), imprint=bytes(20)), 0),
        (asked(algorithm=der.algorithm("1.2.3")), 0),
        (asked(imprint=bytes(20)), 5),
        (asked(policy=der.oid("1.2.3.4")), 15),
        (asked(more=der.explicit(0, der.sequence(der.oid("1.2.3"), der.octet_string(b"")))), 16),
    ],
)
def test_bad_requests_are_answered_with_their_reason(question: bytes, reason: int) -> None:
    answer = respond(question, authority(), now=NOW_MS, serial=1, policy=POLICY)
    bits = re.search(rb"\x03(.)(.)(.+)$", answer, re.DOTALL)
    assert bits is not None
    assert int.from_bytes(bits[3], "big").bit_count() == 1
    assert len(bits[3]) * 8 - int.from_bytes(bits[3], "big").bit_length() == reason
    with pytest.raises(CmsError) as refused:
        read_response(answer)
    assert refused.value.code == REFUSED


def test_stronger_digests_and_our_own_policy_are_granted() -> None:
    imprint = hashlib.sha512(b"x").digest()
    question = asked(
        algorithm=der.algorithm(oids.DIGEST_OIDS["sha512"]),
        imprint=imprint,
        policy=der.oid(POLICY),
    )
    token = read_response(respond(question, authority(), now=NOW_MS, serial=2, policy=POLICY))
    # no certificates were asked for (RFC 3161 §2.4.1)
    assert verify(token).certificates == ()
    found = verify(token, certificates=[authority().certificate])
    assert found.signers[0].signature.passed


# --------------------------------------------------------------------------- foreign judges


@pytest.mark.interop
def test_openssl_accepts_our_tokens_and_refuses_them_for_other_octets(
    openssl: Openssl, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_bytes(stamped())
    common = ("-in", token, "-token_in", "-CAfile", openssl.root, "-attime", str(NOW_MS // 1000))
    run("openssl", "ts", "-verify", "-digest", IMPRINT.hex(), *common)
    with pytest.raises(Refused):
        run("openssl", "ts", "-verify", "-digest", bytes(32).hex(), *common)


@pytest.mark.interop
def test_openssl_understands_our_requests_and_answers(openssl: Openssl, tmp_path: Path) -> None:
    question = tmp_path / "question"
    question.write_bytes(request(IMPRINT, 0x1234))
    printed = run("openssl", "ts", "-query", "-in", question, "-text").decode()
    assert "Nonce: 0x1234" in printed
    assert "Certificate required: yes" in printed
    answer = tmp_path / "answer"
    answer.write_bytes(
        respond(question.read_bytes(), authority(), now=NOW_MS, serial=9, policy=POLICY)
    )
    run(
        "openssl", "ts", "-verify", "-queryfile", question, "-in", answer,
        "-CAfile", openssl.root, "-attime", str(NOW_MS // 1000),
    )  # fmt: skip


@pytest.mark.interop
def test_we_read_what_openssl_stamps(openssl: Openssl, tmp_path: Path) -> None:
    certificate, key = authority().write(tmp_path)
    (tmp_path / "serial").write_text("01\n")
    (tmp_path / "ts.conf").write_text(
        f"""[tsa]
default_tsa = it
[it]
serial = {tmp_path}/serial
signer_cert = {certificate}
signer_key = {key}
signer_digest = sha256
default_policy = {POLICY}
digests = sha256
accuracy = secs:1, millisecs:500
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""
    )
    question = tmp_path / "question"
    question.write_bytes(request(IMPRINT, 99))
    answer = run(
        "openssl", "ts", "-reply", "-config", tmp_path / "ts.conf", "-section", "it",
        "-queryfile", question,
    )  # fmt: skip
    found = verify_token(read_response(answer, imprint=IMPRINT, nonce=99), imprint=IMPRINT)
    assert found.fact.passed
    assert found.accuracy_ms == 1500
    # and what openssl asks
    digest = run("openssl", "ts", "-query", "-digest", IMPRINT.hex(), "-sha256", "-cert")
    assert timestamp_request(digest).certificate_wanted
    assert read_response(
        respond(digest, authority(), now=NOW_MS, serial=3, policy=POLICY), imprint=IMPRINT
    )


@pytest.mark.interop
def test_rfc3161_client_accepts_our_answers() -> None:
    from rfc3161_client import decode_timestamp_response
    from rfc3161_client.errors import VerificationError
    from rfc3161_client.verify import VerifierBuilder

    answer = respond(request(IMPRINT, None), authority(), now=NOW_MS, serial=5, policy=POLICY)
    decoded = decode_timestamp_response(answer)
    verifier = (
        VerifierBuilder(tsa_certificate=x509.load_der_x509_certificate(authority().certificate))
        .add_root_certificate(x509.load_der_x509_certificate(root_der()))
        .build()
    )
    assert verifier.verify(decoded, IMPRINT)
    with pytest.raises(VerificationError):
        verifier.verify(decoded, bytes(32))
    assert root()[1]


def test_only_a_whole_response_is_read() -> None:
    answer = respond(request(IMPRINT, None), authority(), now=NOW_MS, serial=5, policy=POLICY)
    with pytest.raises(CmsError) as refused:
        read_response(answer[:-1])
    assert refused.value.code == DAMAGED
    with pytest.raises(ValueError, match="SHA-256"):
        request(b"short", None)
