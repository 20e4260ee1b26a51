"""The authority as the site runs it, with a real agent node behind it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from crypto_agent.protocol import ProtocolError
from tests.authority.conftest import ALICE
from tests.authority.test_operations import csr
from tests.support.agent_node import AgentNode
from tests.trust.pki import openssl_verify, rsa_key
from webmail.accounts.models import User
from webmail.agent import door, nodes
from webmail.agent.models import Node
from webmail.authority import lists, material, tasks
from webmail.authority.issue import issue_for
from webmail.authority.management.commands import init_authority
from webmail.authority.models import (
    AuthorityCertificate,
    Crl,
    IssuedCertificate,
    RevocationReason,
)
from webmail.authority.revoke import revoke, revoke_all_of
from webmail.authority.setup import set_up

pytestmark = pytest.mark.process


def requests() -> list[dict[str, Any]]:
    return [
        {"purpose": "sign", "csr": csr(rsa_key(3072))},
        {"purpose": "encrypt", "csr": csr(rsa_key(3072))},
    ]


def issuing() -> AuthorityCertificate:
    return AuthorityCertificate.objects.get(name="v1")


# --------------------------------------------------------------------------- setting up


def test_init_authority_makes_it_and_says_so_twice(node: AgentNode) -> None:
    out = io.StringIO()
    call_command("init_authority", stdout=out)
    root = AuthorityCertificate.objects.get(name="root")
    assert root.fingerprint in out.getvalue()
    assert {row.name for row in AuthorityCertificate.objects.all()} == {
        "root",
        "v1",
        "tsa",
        "postmaster-sign",
        "postmaster-encrypt",
    }
    assert Crl.objects.count() == 2

    again = io.StringIO()
    call_command("init_authority", stdout=again)
    assert "there already" in again.getvalue()
    assert AuthorityCertificate.objects.count() == 5
    assert Crl.objects.count() == 2


def test_replaced_keys_are_noticed_not_mixed(authority: AgentNode) -> None:
    AuthorityCertificate.objects.filter(name="v1").update(fingerprint="00" * 32)
    with pytest.raises(CommandError, match="another authority"):
        call_command("init_authority")


def test_init_authority_waits_for_a_node_that_is_just_starting(
    node: AgentNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    Node.objects.all().delete()
    slept: list[float] = []

    def announce(seconds: float) -> None:
        slept.append(seconds)
        nodes.remember(node.descriptor())

    monkeypatch.setattr(init_authority.time, "sleep", announce)
    call_command("init_authority", wait=30, stdout=io.StringIO())
    assert slept
    assert AuthorityCertificate.objects.count() == 5


def test_without_a_node_the_command_says_what_to_do(db: None) -> None:
    with pytest.raises(CommandError, match="supervisor"):
        call_command("init_authority")


# --------------------------------------------------------------------------- issuing


def test_alice_gets_certificates_for_all_her_addresses(alice: User, tmp_path: Path) -> None:
    (signing, chain), (encryption, _) = issue_for(alice, requests())
    trust = material.material()
    for der, purpose in ((signing, "smimesign"), (encryption, "smimeencrypt")):
        accepted, words = openssl_verify(
            tmp_path,
            der,
            intermediates=[chain[0]],
            anchors=trust["anchors"],
            at=timezone.now(),
            purpose=purpose,
            crls=trust["crls"],
            arguments=["-crl_check_all"],
        )
        assert accepted, words
    names = x509.load_der_x509_certificate(signing).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert [name.value for name in names.value] == [ALICE, "alice.adams@acme.example"]
    rows = IssuedCertificate.objects.filter(user=alice).order_by("id")
    assert [(row.purpose, row.address, row.status, row.level) for row in rows] == [
        ("sign", ALICE, "valid", "V1"),
        ("encrypt", ALICE, "valid", "V1"),
    ]


def test_a_refused_request_leaves_no_certificate(alice: User) -> None:
    with pytest.raises(ProtocolError):
        issue_for(alice, [*requests(), {"purpose": "sign", "csr": b"\x30\x00"}])
    assert not IssuedCertificate.objects.exists()
    mallory = User.objects.create_user("mallory@acme.example")
    mallory.addresses.all().delete()
    with pytest.raises(ProtocolError):
        issue_for(mallory, requests())


def test_the_verifier_judges_what_the_authority_issued(alice: User) -> None:
    [_, (encryption, chain)] = issue_for(alice, requests())

    def judged() -> dict[str, Any]:
        return door.service(
            "verifier",
            "judge_certificate",
            {
                "certificate": encryption,
                "chain": chain,
                "trust": material.material(),
                "address": ALICE,
                "purpose": "encrypt",
                "now": int(timezone.now().timestamp() * 1000),
            },
        )

    good = judged()
    assert (good["usable"], good["revocation"], good["signer"]["level"]) == (True, "good", "V1")
    revoke(IssuedCertificate.objects.filter(purpose="encrypt"))
    lists.publish_due()
    revoked = judged()
    assert (revoked["usable"], revoked["revocation"]) == (False, "revoked")


# --------------------------------------------------------------------------- revoking


def test_revoking_publishes_a_list_that_names_the_certificate(
    alice: User, django_capture_on_commit_callbacks: Any
) -> None:
    issue_for(alice, requests())
    signing = IssuedCertificate.objects.get(user=alice, purpose="sign")
    before = lists.current(issuing())
    assert before is not None
    assert not lists.is_due(issuing())

    with django_capture_on_commit_callbacks() as callbacks:
        assert revoke([signing], RevocationReason.KEY_COMPROMISE) == 1
    assert tasks.ring in callbacks
    assert lists.is_due(issuing())  # were the doorbell lost, the schedule would still find it
    tasks.refresh_lists()

    after = lists.current(issuing())
    assert after is not None
    assert after.number == before.number + 1
    parsed = x509.load_der_x509_crl(bytes(after.der))
    entry = parsed.get_revoked_certificate_by_serial_number(int(signing.serial, 16))
    assert entry is not None
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise
    encryption = IssuedCertificate.objects.get(user=alice, purpose="encrypt")
    assert parsed.get_revoked_certificate_by_serial_number(int(encryption.serial, 16)) is None


def test_revoking_twice_keeps_the_first_date_and_reason(alice: User) -> None:
    issue_for(alice, requests())
    signing = IssuedCertificate.objects.get(user=alice, purpose="sign")
    revoke([signing], RevocationReason.KEY_COMPROMISE)
    signing.refresh_from_db()
    first = signing.revoked_at
    assert revoke([signing], RevocationReason.SUPERSEDED) == 0
    signing.refresh_from_db()
    assert (signing.revoked_at, signing.reason) == (first, "keyCompromise")


def test_who_leaves_loses_all_certificates(alice: User) -> None:
    issue_for(alice, requests())
    assert revoke_all_of(alice) == 2
    alice.delete()
    rows = IssuedCertificate.objects.all()
    assert {(row.user, row.status) for row in rows} == {(None, "revoked")}
    lists.publish(issuing())
    newest = lists.current(issuing())
    assert newest is not None
    assert newest.entries == 2


def test_the_root_list_takes_back_a_part_of_the_authority_itself(authority: AgentNode) -> None:
    AuthorityCertificate.objects.filter(name="tsa").update(
        revoked_at=timezone.now(), reason="keyCompromise"
    )
    root = AuthorityCertificate.objects.get(name="root")
    assert lists.is_due(root)
    assert lists.publish_due() == 1
    newest = lists.current(root)
    assert newest is not None
    parsed = x509.load_der_x509_crl(bytes(newest.der))
    serial = int(AuthorityCertificate.objects.get(name="tsa").serial, 16)
    assert parsed.get_revoked_certificate_by_serial_number(serial) is not None


def test_a_number_taken_meanwhile_is_not_used_again(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker publishes while ours is being signed: ours starts over, with its news."""
    issue_for(alice, requests())
    signing = IssuedCertificate.objects.get(user=alice, purpose="sign")
    ask = door.service
    asked: list[int] = []

    def slow(name: str, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        answer = ask(name, op, payload)
        asked.append(payload["number"])
        if len(asked) == 1:  # between our signature and our row
            revoke([signing])
            lists.publish(issuing())
        return answer

    monkeypatch.setattr(door, "service", slow)
    made = lists.publish(issuing())
    assert asked == [2, 2, 3]
    assert (made.number, made.entries) == (3, 1)


def test_old_lists_are_dropped_and_a_fresh_one_is_not_made_anew(authority: AgentNode) -> None:
    for _ in range(lists.KEPT + 3):
        lists.publish(issuing())
    assert issuing().crls.count() == lists.KEPT
    assert lists.publish_due() == 0
    issuing().crls.update(this_update=timezone.now() - lists.RENEW_AFTER)
    assert lists.publish_due() == 1


# --------------------------------------------------------------------------- time stamps


def test_the_time_stamp_service_stamps_what_openssl_asks(
    authority: AgentNode, tmp_path: Path
) -> None:
    import subprocess

    def ts(*arguments: str) -> str:
        done = subprocess.run(
            ["openssl", "ts", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    (tmp_path / "data").write_bytes(b"signature value")
    ts("-query", "-data", "data", "-sha256", "-cert", "-out", "query.tsq")
    request = (tmp_path / "query.tsq").read_bytes()
    answer = door.service("timestamp", "stamp", {"request": request})
    (tmp_path / "answer.tsr").write_bytes(answer["response"])
    (tmp_path / "root.pem").write_bytes(
        x509.load_der_x509_certificate(
            bytes(AuthorityCertificate.objects.get(name="root").der)
        ).public_bytes(serialization.Encoding.PEM)
    )
    verify = ("-verify", "-queryfile", "query.tsq", "-in", "answer.tsr", "-CAfile", "root.pem")
    assert "Verification: OK" in ts(*verify)
    (tmp_path / "other").write_bytes(b"another value")
    assert "FAILED" in ts("-verify", "-data", "other", "-in", "answer.tsr", "-CAfile", "root.pem")


# --------------------------------------------------------------------------- public files


def test_the_addresses_in_certificates_lead_to_the_files(alice: User, settings: Any) -> None:
    [(der, chain), _] = issue_for(alice, requests())
    certificate = x509.load_der_x509_certificate(der)
    browser = Client()
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    list_url, issuer_url = (
        next(iter(points)).full_name[0].value,  # type: ignore[index]
        next(iter(access)).access_location.value,
    )
    assert list_url.startswith(settings.ORIGIN)
    answer = browser.get(list_url.removeprefix(settings.ORIGIN))
    assert answer["Content-Type"] == "application/pkix-crl"
    x509.load_der_x509_crl(answer.content)
    answer = browser.get(issuer_url.removeprefix(settings.ORIGIN))
    assert answer["Content-Type"] == "application/pkix-cert"
    assert answer.content == chain[0]


def test_public_files_may_be_cached_and_asked_for_again(authority: AgentNode) -> None:
    browser = Client()
    for path in ("/pki/root.crt", "/pki/v1.crl"):
        first = browser.get(path)
        assert "public" in first["Cache-Control"]
        assert "Set-Cookie" not in first.headers
        again = browser.get(path, headers={"if-none-match": first["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert browser.post(path).status_code == 405
    assert browser.get("/pki/v9.crt").status_code == 404
    assert browser.get("/pki/tsa.crl").status_code == 404
    assert browser.get("/pki/..%2fsecrets.crt").status_code == 404


# --------------------------------------------------------------------------- admin


@pytest.fixture
def admin_client(authority: AgentNode) -> Client:
    boss = User.objects.create_superuser("boss@acme.example", "a long enough password")
    client = Client()
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_the_admin_asks_before_it_revokes(alice: User, admin_client: Client) -> None:
    issue_for(alice, requests())
    ids = [str(pk) for pk in IssuedCertificate.objects.values_list("pk", flat=True)]
    path = "/admin/authority/issuedcertificate/"
    chosen = {"action": "revoke_selected", "_selected_action": ids}
    question = admin_client.post(path, chosen, secure=True)
    assert question.status_code == 200
    assert "cannot be undone" in question.content.decode()
    assert not IssuedCertificate.objects.filter(status="revoked").exists()

    confirmed = {**chosen, "confirmed": "yes", "reason": "affiliationChanged"}
    answer = admin_client.post(path, confirmed, secure=True)
    assert answer.status_code == 302
    assert IssuedCertificate.objects.filter(status="revoked").count() == 2


def test_the_admin_lists_thousands_with_few_queries(
    alice: User, admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    issuer = issuing()
    now = timezone.now()
    IssuedCertificate.objects.bulk_create(
        IssuedCertificate(
            user=alice,
            issuer=issuer,
            serial=f"{number:x}",
            fingerprint=f"{number:064x}",
            purpose="sign",
            level="V1",
            address=f"person{number}@acme.example",
            der=b"",
            not_before=now,
            not_after=now,
        )
        for number in range(2000)
    )
    with django_assert_max_num_queries(12):
        answer = admin_client.get("/admin/authority/issuedcertificate/", secure=True)
    assert answer.status_code == 200
    for query in ("?q=person77@", "?validity=expired", "?validity=soon", "?p=3"):
        path = f"/admin/authority/issuedcertificate/{query}"
        assert admin_client.get(path, secure=True).status_code == 200
    for page in ("authoritycertificate", "crl"):
        assert admin_client.get(f"/admin/authority/{page}/", secure=True).status_code == 200


def test_nobody_edits_certificates_by_hand(alice: User, admin_client: Client) -> None:
    issue_for(alice, requests())
    row = IssuedCertificate.objects.all()[0]
    page = f"/admin/authority/issuedcertificate/{row.pk}/change/"
    assert admin_client.get(page, secure=True).status_code == 200
    assert admin_client.post(page, {"address": "x@y.test"}, secure=True).status_code == 403
    for path in ("add/", f"{row.pk}/delete/"):
        answer = admin_client.get(f"/admin/authority/issuedcertificate/{path}", secure=True)
        assert answer.status_code == 403


def test_material_is_what_judges_need(authority: AgentNode) -> None:
    found = material.material()
    assert material.anchors() == found["anchors"]
    assert [len(found[key]) for key in ("anchors", "intermediates", "crls")] == [1, 2, 2]
    set_up()
    assert material.material() == found
