"""Signatures that hold as mathematics and must not count: one test per rule, each with a control.

Every message here is signed with a real key over just what it presents.
"""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from crypto_agent.cms import der, facts, keys, oids
from crypto_agent.cms.certificate import parts
from crypto_agent.cms.errors import DAMAGED, TOO_COMPLEX, CmsError
from crypto_agent.cms.signature_check import check_signature, scheme_of
from crypto_agent.cms.signed import finish, sign
from crypto_agent.cms.tlv import Algorithm, Cursor
from crypto_agent.cms.verify import CERTIFICATE_LIMIT, SIGNER_LIMIT, Signer, verify
from tests.cms import forge
from tests.cms.people import NOW_MS, Person, person, root_der

MAIL = b"Content-Type: text/plain\r\n\r\nPay 100 euros.\r\n"
OTHER = b"Content-Type: text/plain\r\n\r\nPay 999 euros.\r\n"


def alice() -> Person:
    return person("alice-rsa2048", "rsa2048")


def judged(*signers: bytes, content: bytes | None = MAIL, **more: object) -> Signer:
    detached = more.pop("detached", None)
    bag = more.pop("certificates", [alice().certificate])
    message = forge.signed_data(content, signers, bag, **more)  # type: ignore[arg-type]
    return verify(message, detached).signers[0]  # type: ignore[arg-type]


def holds(signer: Signer) -> bool:
    return signer.digest.passed and signer.signature.passed


def with_attributes(*more: bytes, **options: object) -> bytes:
    attributes = [*forge.standard_attributes(MAIL), *more]
    return forge.signer_info(alice(), attributes, **options)  # type: ignore[arg-type]


def test_the_forge_makes_good_signatures_when_asked_to() -> None:
    assert holds(judged(with_attributes()))
    assert holds(judged(with_attributes(by_key_identifier=True)))
    assert holds(judged(with_attributes(), content=None, detached=MAIL))


# --------------------------------------------------------------------------- what is signed


def test_a_detached_signature_with_a_content_of_its_own_fails_even_when_both_are_equal() -> None:
    for shown in (OTHER, MAIL):
        signer = judged(with_attributes(), detached=shown)
        assert signer.digest == facts.failed(facts.DIGEST_TWO_CONTENTS)
    assert judged(with_attributes(), content=None, detached=OTHER).digest.code == (
        facts.DIGEST_MISMATCH
    )


def test_a_signature_about_nothing_fails() -> None:
    assert judged(with_attributes(), content=None).digest.code == facts.DIGEST_NO_CONTENT


def test_attributes_passed_off_as_a_content_are_refused() -> None:
    """Alice's signature over attributes is also one over the octets of those attributes."""
    draft = sign(MAIL, alice(), detached=True, signing_time=NOW_MS)
    (info,) = verify(finish(draft, None), MAIL).signers
    attributes = _attributes_of(draft.signer)
    bare = forge.signer_info(alice(), None, signature=info.signature_value)
    signer = judged(bare, content=attributes)
    assert signer.signature.code == facts.SIGNATURE_ATTRIBUTES
    assert not signer.digest.passed


def _attributes_of(fields: bytes) -> bytes:
    cursor = Cursor(fields)
    cursor.skip()
    cursor.skip()
    cursor.skip()
    return bytes((der.SET,)) + cursor.raw(0xA0)[1:]


def test_without_attributes_the_content_itself_is_signed() -> None:
    bare = forge.signer_info(alice(), None, content=MAIL)
    assert holds(judged(bare))
    changed = judged(bare, content=OTHER)
    assert changed.signature.code == facts.SIGNATURE_INVALID
    assert changed.digest.result == "unknown"


def test_content_of_another_type_needs_attributes() -> None:
    bare = forge.signer_info(alice(), None, content=MAIL)
    assert judged(bare, content_type=oids.TST_INFO).signature.code == facts.SIGNATURE_ATTRIBUTES


def test_the_signed_type_must_be_that_of_the_content() -> None:
    info = forge.signer_info(alice(), forge.standard_attributes(MAIL, content_type=oids.TST_INFO))
    assert judged(info).signature.code == facts.SIGNATURE_CONTENT_TYPE
    assert holds(judged(info, content_type=oids.TST_INFO))


# --------------------------------------------------------------------------- attributes


@pytest.mark.parametrize("missing", [0, 1])
def test_content_type_and_message_digest_must_be_there(missing: int) -> None:
    attributes = forge.standard_attributes(MAIL)
    del attributes[missing]
    assert judged(forge.signer_info(alice(), attributes)).signature.code == (
        facts.SIGNATURE_ATTRIBUTES
    )


@pytest.mark.parametrize("twice", [0, 1])
def test_an_attribute_that_appears_twice_decides_nothing(twice: int) -> None:
    attributes = forge.standard_attributes(MAIL)
    other = forge.standard_attributes(OTHER, content_type=oids.TST_INFO)
    signer = judged(forge.signer_info(alice(), [*attributes, other[twice]]))
    assert signer.signature.code == facts.SIGNATURE_ATTRIBUTES
    signer = judged(forge.signer_info(alice(), [*attributes, attributes[twice]]))
    assert not signer.signature.passed


def test_an_attribute_with_two_values_decides_nothing() -> None:
    content_type, _ = forge.standard_attributes(MAIL)
    digests = sorted(
        der.octet_string(hashlib.sha256(content).digest()) for content in (MAIL, OTHER)
    )
    info = forge.signer_info(alice(), [content_type, der.attribute(oids.MESSAGE_DIGEST, *digests)])
    signer = judged(info)
    assert signer.signature.code == facts.SIGNATURE_ATTRIBUTES
    assert not signer.digest.passed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (oids.SIGNING_TIME, der.time(NOW_MS)),
        (oids.SMIME_CAPABILITIES, der.sequence()),
        (oids.ENCRYPTION_KEY_PREFERENCE, der.sequence()),
    ],
)
def test_attributes_that_may_appear_once_may_not_appear_twice(name: str, value: bytes) -> None:
    once = judged(with_attributes(der.attribute(name, value)))
    assert holds(once)
    other = der.sequence(der.integer(1)) if name != oids.SIGNING_TIME else der.time(NOW_MS + 5000)
    twice = judged(with_attributes(der.attribute(name, value), der.attribute(name, other)))
    assert twice.signature == facts.failed(facts.SIGNATURE_ATTRIBUTES, attribute=name)
    if name == oids.SMIME_CAPABILITIES:
        assert twice.capabilities is None


def test_attributes_in_another_order_than_they_are_hashed_are_refused_by_name() -> None:
    attributes = sorted(forge.standard_attributes(MAIL), reverse=True)
    signer = judged(forge.signer_info(alice(), attributes, as_given=True))
    assert signer.signature.code == facts.SIGNATURE_NOT_DER


def test_attributes_with_lengths_that_are_not_der_are_refused_by_name() -> None:
    content_type, digest = forge.standard_attributes(MAIL)
    longer = digest[:1] + b"\x81" + digest[1:]
    signer = judged(forge.signer_info(alice(), [content_type, longer]))
    assert signer.signature.code == facts.SIGNATURE_NOT_DER
    inside = der.attribute("1.2.3.4", b"\x30\x80\0\0")
    assert judged(with_attributes(inside)).signature.code == facts.SIGNATURE_NOT_DER
    assert holds(judged(with_attributes(der.attribute("1.2.3.4", b"\x30\x00"))))


def test_an_unreadable_signing_time_fails() -> None:
    info = with_attributes(der.attribute(oids.SIGNING_TIME, der.integer(5)))
    assert judged(info).signature.code == facts.SIGNATURE_ATTRIBUTES


# --------------------------------------------------------------------------- algorithms


def protection(digest: bytes, signature: bytes) -> bytes:
    cursor = Cursor(signature)
    cursor.enter()
    inner = der.explicit(1, signature[cursor.position :])
    return der.attribute(oids.ALGORITHM_PROTECTION, der.sequence(digest, inner))


def test_algorithms_other_than_those_protected_are_refused() -> None:
    """RFC 6211: the SignerInfo claims SHA-256 although the signer meant SHA-512, and so on."""
    assert holds(judged(with_attributes(protection(forge.SHA256, forge.RSA))))
    without_null = der.algorithm(oids.RSA)
    assert holds(judged(with_attributes(protection(forge.SHA256, without_null))))
    sha512 = der.algorithm(oids.DIGEST_OIDS["sha512"])
    for wrong in (
        protection(sha512, forge.RSA),
        protection(forge.SHA256, der.algorithm("1.2.840.113549.1.1.11", der.NULL_VALUE)),
        der.attribute(oids.ALGORITHM_PROTECTION, der.sequence(forge.SHA256)),
        der.attribute(oids.ALGORITHM_PROTECTION, der.integer(1)),
    ):
        signer = judged(with_attributes(wrong))
        assert signer.signature.code == facts.SIGNATURE_ALGORITHM_PROTECTION


def test_digest_and_signature_algorithm_must_go_together() -> None:
    sha512_with_rsa = der.algorithm("1.2.840.113549.1.1.13", der.NULL_VALUE)
    info = with_attributes(signature_algorithm=sha512_with_rsa)
    assert judged(info).signature.code == facts.SIGNATURE_DIGEST_RULE
    sha256_with_rsa = der.algorithm("1.2.840.113549.1.1.11", der.NULL_VALUE)
    assert holds(judged(with_attributes(signature_algorithm=sha256_with_rsa)))


def test_ed25519_with_any_digest_but_sha512_is_refused() -> None:
    eve = person("alice-ed25519", "ed25519")
    for digest in ("sha256", "sha512"):
        info = forge.signer_info(
            eve,
            forge.standard_attributes(MAIL, digest=digest),
            scheme=keys.ED25519,
            digest_algorithm=der.algorithm(oids.DIGEST_OIDS[digest]),
            signature_algorithm=der.algorithm(oids.ED25519),
        )
        signer = judged(info, certificates=[eve.certificate])
        if digest == "sha512":
            assert holds(signer)
        else:
            assert signer.signature.code == facts.SIGNATURE_DIGEST_RULE


def test_pss_with_another_hash_than_the_digest_is_refused() -> None:
    defaults = der.algorithm(oids.RSA_PSS, der.sequence())  # SHA-1 by default
    info = with_attributes(signature_algorithm=defaults, scheme=keys.RSA_PSS_SHA256)
    assert judged(info).signature.code == facts.SIGNATURE_DIGEST_RULE
    for damaged in (der.algorithm(oids.RSA_PSS), der.algorithm(oids.RSA_PSS, der.integer(1))):
        info = with_attributes(signature_algorithm=damaged, scheme=keys.RSA_PSS_SHA256)
        assert judged(info).signature.code == facts.SIGNATURE_UNKNOWN


@pytest.mark.parametrize(("name", "algorithm"), [("sha1", hashes.SHA1()), ("md5", hashes.MD5())])
def test_weak_digests_are_named_and_never_pass(name: str, algorithm: hashes.HashAlgorithm) -> None:
    dotted = {value: key for key, value in oids.DIGESTS.items()}[name]
    attributes = forge.standard_attributes(MAIL, digest=name)
    to_be_signed = der.set_of(attributes)
    info = forge.signer_info(
        alice(),
        attributes,
        digest_algorithm=der.algorithm(dotted, der.NULL_VALUE),
        signature=alice().private.sign(to_be_signed, padding.PKCS1v15(), algorithm),
    )
    signer = judged(info)
    assert signer.digest == facts.failed(facts.DIGEST_WEAK, algorithm=name)
    assert signer.signature == facts.failed(facts.SIGNATURE_WEAK_DIGEST, algorithm=name)
    # and a broken one is broken, not merely weak
    info = forge.signer_info(
        alice(), attributes, digest_algorithm=der.algorithm(dotted, der.NULL_VALUE)
    )
    assert judged(info).signature.code == facts.SIGNATURE_INVALID


def test_a_short_rsa_key_is_named_and_never_passes() -> None:
    weak = person("alice-rsa1024", "rsa1024")
    info = forge.signer_info(weak, forge.standard_attributes(MAIL))
    signer = judged(info, certificates=[weak.certificate])
    assert signer.signature == facts.failed(facts.SIGNATURE_WEAK_KEY, bits=1024)
    assert signer.key == "RSA 1024"


def test_unknown_algorithms_are_unknown_and_not_failed() -> None:
    odd = der.algorithm("1.3.6.1.4.1.99999.1")
    assert judged(with_attributes(signature_algorithm=odd)).signature.result == "unknown"
    signer = judged(with_attributes(digest_algorithm=odd))
    assert (signer.digest.result, signer.signature.result) == ("unknown", "unknown")
    assert signer.digest_algorithm == "1.3.6.1.4.1.99999.1"


def test_an_algorithm_that_is_not_for_the_certificates_key_is_refused() -> None:
    bob = person("bob-p256", "p256")
    info = with_attributes(named=bob)
    signer = judged(info, certificates=[bob.certificate])
    assert signer.signature.code == facts.SIGNATURE_KEY_MISMATCH


def test_rsa_with_exponent_one_verifies_nothing() -> None:
    """With e = 1 everybody can write the signature: it is the padded digest itself."""
    genuine = parts(alice().certificate)
    numbers = alice().private.public_key().public_numbers()
    key = der.sequence(der.integer(numbers.n), der.integer(1))
    spki = der.sequence(forge.RSA, der.bit_string(key))
    certificate = dataclasses.replace(genuine, spki=spki)
    attributes = der.set_of(forge.standard_attributes(MAIL))
    digest_info = der.sequence(
        der.algorithm(oids.DIGEST_OIDS["sha256"], der.NULL_VALUE),
        der.octet_string(hashlib.sha256(attributes).digest()),
    )
    signature = b"\x00\x01" + b"\xff" * (256 - 3 - len(digest_info)) + b"\x00" + digest_info
    scheme = scheme_of(Algorithm(oids.RSA, der.NULL_VALUE, b""), "sha256")
    fact = check_signature(certificate, scheme, attributes, signature)
    # the library may refuse the key before we do
    assert fact.code in (facts.SIGNATURE_KEY_REFUSED, facts.SIGNATURE_CERTIFICATE_DAMAGED)
    assert check_signature(genuine, scheme, attributes, signature).code == facts.SIGNATURE_INVALID


# --------------------------------------------------------------------------- certificates


def signing_certificate(certificate: bytes, *, version: int = 2) -> bytes:
    name, digest = {
        1: (oids.SIGNING_CERTIFICATE, "sha1"),
        2: (oids.SIGNING_CERTIFICATE_V2, "sha256"),
    }[version]
    entry = der.sequence(der.octet_string(hashlib.new(digest, certificate).digest()))
    return der.attribute(name, der.sequence(der.sequence(entry)))


@pytest.mark.parametrize("version", [1, 2])
def test_the_certificate_must_be_the_one_that_was_signed_with(version: int) -> None:
    """Same key, other certificate: signed as an employee, shown as the director."""
    good = with_attributes(signing_certificate(alice().certificate, version=version))
    assert holds(judged(good))
    for other in (root_der(), person("bob").certificate):
        bad = with_attributes(signing_certificate(other, version=version))
        assert judged(bad).signature.code == facts.SIGNATURE_SIGNING_CERTIFICATE
    unreadable = der.attribute(oids.SIGNING_CERTIFICATE_V2, der.integer(1))
    assert judged(with_attributes(unreadable)).signature.code == facts.SIGNATURE_ATTRIBUTES


def test_without_the_signers_certificate_nothing_can_be_told() -> None:
    for bag in ([], [person("bob").certificate], [b"\x30\x03\x02\x01\x05"]):
        signer = judged(with_attributes(), certificates=bag)
        assert signer.signature == facts.unknown(facts.SIGNATURE_NO_CERTIFICATE)
        assert signer.certificate is None
        assert signer.digest.passed  # the octets are those of the attribute, whoever wrote it
    known = verify(
        forge.signed_data(MAIL, [with_attributes()], []), certificates=[alice().certificate]
    )
    assert holds(known.signers[0])


def test_each_of_several_signers_is_judged_alone() -> None:
    bob = person("bob")
    bad = forge.signer_info(bob, forge.standard_attributes(OTHER))
    good = with_attributes()
    message = forge.signed_data(MAIL, [good, bad], [alice().certificate, bob.certificate])
    found = {signer.certificate: signer for signer in verify(message).signers}
    assert holds(found[alice().certificate])
    assert found[bob.certificate].digest.code == facts.DIGEST_MISMATCH
    assert sorted(signer.index for signer in found.values()) == [0, 1]


def test_no_signer_means_not_signed() -> None:
    assert verify(forge.signed_data(MAIL, [], [alice().certificate])).signers == ()


# --------------------------------------------------------------------------- counts and sizes


def test_signers_and_certificates_are_counted_before_any_work() -> None:
    info = with_attributes()
    bag = [alice().certificate]
    full = forge.signed_data(MAIL, [info] * SIGNER_LIMIT, bag)
    assert len(verify(full).signers) == SIGNER_LIMIT
    for message in (
        forge.signed_data(MAIL, [info] * (SIGNER_LIMIT + 1), bag),
        forge.signed_data(MAIL, [info], bag * (CERTIFICATE_LIMIT + 1)),
        forge.signed_data(MAIL, [info], bag, lists=[der.sequence()] * 65),
        forge.signed_data(
            MAIL,
            [
                with_attributes(
                    unsigned=[der.attribute("1.2.3", b"\x04\x84\x00\x20\x00\x00" + bytes(2**21))]
                )
            ],
            bag,
        ),
    ):
        with pytest.raises(CmsError) as refused:
            verify(message)
        assert refused.value.code == TOO_COMPLEX


def test_a_hundred_attributes_are_refused_without_raising() -> None:
    many = [der.attribute(f"1.2.3.{number}", der.integer(1)) for number in range(100)]
    assert judged(with_attributes(*many)).signature.code == facts.SIGNATURE_NOT_DER


def test_a_megabyte_of_certificate_is_nobodys() -> None:
    huge = der.sequence(der.octet_string(bytes(1_600_000)))
    signer = judged(with_attributes(), certificates=[huge, alice().certificate])
    assert holds(signer)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x30",
        der.sequence(),
        der.sequence(der.oid(oids.SIGNED_DATA)),
        der.sequence(der.oid(oids.SIGNED_DATA), der.explicit(0, der.sequence())),
        b"\x30\x80" * 50,
        b"\xff" * 50,
    ],
)
def test_what_is_no_signed_data_is_damaged(message: bytes) -> None:
    with pytest.raises(CmsError) as refused:
        verify(message)
    assert refused.value.code in (DAMAGED, TOO_COMPLEX)


def test_tokens_and_lists_are_handed_out_as_they_stand() -> None:
    token = der.sequence(der.integer(1))
    stapled = der.tlv(0xA1, der.oid(oids.OCSP_RESPONSE), der.sequence(der.integer(2)))
    info = with_attributes(unsigned=[der.attribute(oids.TIMESTAMP_TOKEN, token)])
    message = forge.signed_data(
        MAIL, [info], [alice().certificate], lists=[der.sequence(der.integer(3)), stapled]
    )
    found = verify(message)
    assert found.signers[0].tokens == (token,)
    assert found.crls == (der.sequence(der.integer(3)),)
    assert found.ocsp == (der.sequence(der.integer(2)),)
