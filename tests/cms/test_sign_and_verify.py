"""What we sign we verify, and whatever is changed afterwards is noticed."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_agent.cms import capabilities, certs_only, content_info, der, facts, keys, oids
from crypto_agent.cms.errors import CERTIFICATE, DAMAGED, UNSUPPORTED, CmsError
from crypto_agent.cms.signed import SignedDraft, certificates_only, finish, scheme_for, sign
from crypto_agent.cms.tlv import Cursor
from crypto_agent.cms.verify import SignedMessage, Signer, verify
from tests.cms import forge
from tests.cms.people import NOW_MS, person, root_der

MAIL = b"Content-Type: text/plain; charset=utf-8\r\n\r\nThe contract is signed.\r\n"

KINDS = ["rsa2048", "p256", "p384", "p521", "ed25519"]


def signed(kind: str = "p256", *, detached: bool, content: bytes = MAIL) -> bytes:
    signer = person(f"alice-{kind}", kind)
    return finish(sign(content, signer, detached=detached, signing_time=NOW_MS), None)


def only(message: SignedMessage) -> Signer:
    (signer,) = message.signers
    return signer


def holds(signer: Signer) -> bool:
    return signer.digest.passed and signer.signature.passed


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_alice_signs_is_verified_with_every_detail(kind: str, detached: bool) -> None:
    alice = person(f"alice-{kind}", kind)
    found = verify(signed(kind, detached=detached), MAIL if detached else None)
    assert found.content == (None if detached else MAIL)
    assert found.content_type == oids.DATA
    assert found.certificates == (alice.certificate,)  # the root stays at home
    signer = only(found)
    assert holds(signer)
    assert (signer.digest.code, signer.signature.code) == (facts.DIGEST_OK, facts.SIGNATURE_OK)
    assert signer.certificate == alice.certificate
    assert signer.signing_time == NOW_MS
    assert oids.AES_256_GCM in capabilities.read(signer.capabilities)
    assert signer.imprint == hashlib.sha256(signer.signature_value).digest()
    assert signer.tokens == ()


def test_the_scheme_can_be_chosen_and_pss_keeps_the_baseline_parameters() -> None:
    alice = person("alice-rsa2048", "rsa2048")
    draft = sign(MAIL, alice, detached=True, signing_time=NOW_MS, scheme=keys.RSA_PSS_SHA256)
    signer = only(verify(finish(draft, None), MAIL))
    assert holds(signer)
    assert signer.signature_algorithm == "rsa-pss"
    # CA/B S/MIME BR §7.1.3.2.1: the exact octets for RSASSA-PSS with SHA-256
    exact = bytes.fromhex(
        "304106092a864886f70d01010a3034a00f300d0609608648016503040201"
        "0500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
    )
    assert exact in finish(draft, None)


def test_a_key_of_a_kind_that_cannot_sign_is_refused() -> None:
    with pytest.raises(CmsError) as refused:
        scheme_for(person("bob-x25519", "x25519").certificate)
    assert refused.value.code == CERTIFICATE


def test_a_draft_survives_being_put_away() -> None:
    draft = sign(MAIL, person("alice-p256", "p256"), detached=False, signing_time=NOW_MS)
    back = SignedDraft.from_bytes(draft.to_bytes())
    assert back == draft
    assert finish(back, None) == finish(draft, None)
    for broken in (b"", b"\xc0", draft.to_bytes()[:-5]):
        with pytest.raises(CmsError):
            SignedDraft.from_bytes(broken)


def test_signed_attributes_are_der_and_the_hash_algorithm_of_the_certificate_is_left_out() -> None:
    message = signed("rsa2048", detached=True)
    alice = person("alice-rsa2048", "rsa2048")
    # RFC 5035 §4: SHA-256 is the default, and DER leaves defaults out
    entry = der.octet_string(hashlib.sha256(alice.certificate).digest())
    position = message.index(entry)
    assert message[position - 4 : position - 2] != b"\x05\x00"
    assert message[position - 13 : position].find(der.oid(oids.DIGEST_OIDS["sha256"])) < 0
    assert der.attribute(oids.SIGNING_TIME, der.time(NOW_MS)) in message
    assert der.attribute(oids.CONTENT_TYPE, der.oid(oids.DATA)) in message


def test_changing_the_content_fails_the_digest_and_only_the_digest() -> None:
    found = only(verify(signed(detached=True), MAIL.replace(b"is", b"was")))
    assert found.digest.code == facts.DIGEST_MISMATCH
    assert found.signature.passed


@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519"])
def test_no_octet_of_a_signed_message_can_be_changed_unnoticed(kind: str) -> None:
    """Flips bits of every octet. What may change without harm is named: version numbers, the list
    of digests that only one-pass readers use, and letter case in the name by which the certificate
    is looked up (the certificate found is proven by the signature and by its signed hash)."""
    message = signed(kind, detached=False)
    cursor = Cursor(message)
    cursor.enter()
    cursor.skip()
    cursor.enter(0xA0)
    cursor.enter()
    harmless = set(range(cursor.position, cursor.position + 3))  # version of SignedData
    cursor.skip()
    start = cursor.position
    cursor.skip()  # digestAlgorithms
    harmless |= set(range(start, cursor.position))
    cursor.skip()
    cursor.skip()
    cursor.enter(der.SET)
    cursor.enter()
    harmless |= set(range(cursor.position, cursor.position + 3))  # version of SignerInfo
    cursor.skip()
    cursor.enter()
    start = cursor.position
    cursor.skip()
    issuer = set(range(start, cursor.position))

    unnoticed = []
    for position in range(len(message)):
        for mask in (0x01, 0x80, 0x20):
            changed = bytearray(message)
            changed[position] ^= mask
            try:
                found = verify(bytes(changed))
            except CmsError:
                continue
            if not any(map(holds, found.signers)) or position in harmless:
                continue
            if position not in issuer or mask != 0x20:
                unnoticed.append(position)
    assert unnoticed == []
    assert holds(only(verify(message)))  # positive control


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_the_signers_public_key_decides_not_the_name(kind: str) -> None:
    """Mallory certifies the same name and serial number for a key of hers."""
    alice = person("alice-serial", kind, serial=77)
    mallory = person("mallory-serial", kind, serial=77)
    attributes = forge.standard_attributes(MAIL)
    scheme = "rsa-pkcs1v15-sha256" if kind == "rsa2048" else "ecdsa-sha256"
    algorithm = forge.RSA if kind == "rsa2048" else der.algorithm(oids.ECDSA_OIDS["sha256"])
    info = forge.signer_info(alice, attributes, scheme=scheme, signature_algorithm=algorithm)
    honest = verify(forge.signed_data(MAIL, [info], [alice.certificate]))
    assert holds(only(honest))
    forged = verify(forge.signed_data(MAIL, [info], [mallory.certificate]))
    assert only(forged).signature.code == facts.SIGNATURE_INVALID
    both = verify(forge.signed_data(MAIL, [info], [mallory.certificate, alice.certificate]))
    assert only(both).certificate == alice.certificate
    assert holds(only(both))


def test_signers_are_found_by_key_identifier_with_and_without_the_extension() -> None:
    for extension in (True, False):
        bob = person(f"bob-ski-{extension}", "rsa2048", key_identifier=extension)
        identifier = person("bob-ski-True", "rsa2048").certificate
        assert identifier
        info = _by_key_identifier(bob)
        assert holds(only(verify(forge.signed_data(MAIL, [info], [bob.certificate]))))


def _by_key_identifier(bob) -> bytes:  # type: ignore[no-untyped-def]
    from crypto_agent.cms.certificate import key_bits, parts

    attributes = der.set_of(forge.standard_attributes(MAIL))
    identifier = hashlib.sha1(key_bits(parts(bob.certificate).spki)).digest()
    return der.sequence(
        der.integer(3),
        der.tlv(der.CONTEXT, identifier),
        forge.SHA256,
        b"\xa0" + attributes[1:],
        forge.RSA,
        der.octet_string(bob.sign(attributes, scheme=keys.RSA_PKCS1V15_SHA256)),
    )


def test_a_streamed_message_in_indefinite_lengths_is_read_like_any_other() -> None:
    message = signed("rsa2048", detached=False, content=MAIL * 50)
    streamed = forge.to_indefinite(
        message, forge.SIGNED_LEVELS, {forge.SIGNED_CONTENT: [1, 500, 500, 1600]}
    )
    assert streamed != message
    found = verify(streamed)
    assert found.content == MAIL * 50
    assert holds(only(found))
    # a cut in the middle of the stream, at every place, is damage and not a shorter mail
    for end in range(0, len(streamed) - 1, 37):
        with pytest.raises(CmsError):
            verify(streamed[:end])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=6))
def test_any_content_in_any_pieces_verifies(content: bytes, cuts: list[int]) -> None:
    message = signed("p256", detached=False, content=content)
    pieces = [min(cut, len(content)) for cut in cuts]
    streamed = forge.to_indefinite(message, forge.SIGNED_LEVELS, {forge.SIGNED_CONTENT: pieces})
    found = verify(streamed)
    assert found.content == content
    assert holds(only(found))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1400), st.integers(0, 3), st.binary(max_size=3)),
        min_size=1,
        max_size=4,
    )
)
def test_mutilated_messages_raise_nothing_but_our_error(
    cuts: list[tuple[int, int, bytes]],
) -> None:
    message = bytearray(signed("p256", detached=False))
    for position, length, other in cuts:
        message[position : position + length] = other
    try:
        found = verify(bytes(message))
    except CmsError:
        return
    for signer in found.signers:
        assert not holds(signer) or found.content == MAIL


def test_padding_that_gateways_append_is_ignored_and_anything_else_is_not() -> None:
    message = signed(detached=False)
    assert holds(only(verify(message + b"\r\n\r\n")))
    assert holds(only(verify(message + b"\0\0")))
    for more in (b"!", b"\r\n" * 20, message):
        with pytest.raises(CmsError) as refused:
            verify(message + more)
        assert refused.value.code == DAMAGED


def test_the_kind_of_an_object_is_told_from_its_first_octets() -> None:
    assert content_info.kind(signed(detached=True)) == "signed"
    assert content_info.kind(der.sequence(der.oid("1.2.3"))) == "other"
    for nothing in (b"", b"From: x", b"\x30\x80", der.sequence(der.integer(1))):
        assert content_info.kind(nothing) is None


def test_certificates_are_handed_over_without_signers() -> None:
    alice, bob = person("alice-p256", "p256"), person("bob")
    message = certificates_only([alice.certificate, bob.certificate, root_der()])
    found, lists = certs_only.read(message)
    assert set(found) == {alice.certificate, bob.certificate, root_der()}
    assert lists == ()
    assert verify(message).signers == ()  # nobody signed: never valid
    with pytest.raises(CmsError) as refused:
        certs_only.read(content_info.content_info(oids.DATA, [der.octet_string(b"x")]))
    assert refused.value.code == UNSUPPORTED


def test_capabilities_must_be_announced_by_everybody() -> None:
    gcm = capabilities.OWN
    cbc = der.sequence(der.algorithm(oids.AES_256_CBC))
    assert capabilities.all_read_gcm([gcm, gcm])
    assert not capabilities.all_read_gcm([gcm, cbc])
    assert not capabilities.all_read_gcm([gcm, None])
    assert not capabilities.all_read_gcm([])
    assert capabilities.read(b"garbage") == frozenset()
    assert capabilities.read(gcm + b"x") == frozenset()
    # RFC 9709 §5 prints the capability's octets
    assert bytes.fromhex("300d060b2a864886f70d010910031f") in gcm
