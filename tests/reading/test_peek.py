"""Rows of mail that nobody opened yet have subjects and first words, as far as keys allow."""

from __future__ import annotations

from launcher.foreign import Correspondent, smime
from tests.reading.conftest import Person, letter, plain
from tests.reading.test_pages import alice_list
from webmail.agent.models import KeySession
from webmail.certificates import history
from webmail.mailbox import judge, lists
from webmail.mailbox.models import Folder, Message
from webmail.reading import peek


def look_until_nothing_is_left(person: Person) -> str:
    """Poll as an open page does; the list as it is then."""
    for _ in range(10):
        context = person.client.get(alice_list(person)).context
        if not context["unopened"]:
            break
        assert person.client.get(context["poll_url"]).status_code in {200, 204}
    return person.client.get(alice_list(person)).content.decode()


def test_a_page_that_polls_gives_rows_their_subjects_and_marks_nothing_as_read(
    alice: Person, bob: Correspondent
) -> None:
    alice.receive(plain(letter(alice.address, text="plain words")))
    alice.receive(
        smime(
            letter(alice.address, subject="Sealed subject", text="sealed words", number=2),
            signer=bob,
            recipients=[alice.encryption_certificate],
        )
    )
    context = alice.client.get(alice_list(alice)).context
    used = KeySession.objects.filter(user=alice.user).latest("used_at").used_at
    alice.client.get(context["poll_url"])
    assert KeySession.objects.filter(user=alice.user).latest("used_at").used_at == used
    listed = look_until_nothing_is_left(alice)
    assert "plain words" in listed
    assert "sealed words" in listed
    assert "Signed by Bob Builder, verified" in listed
    assert not Message.objects.filter(folder=alice.inbox, seen=True).exists()


def test_while_locked_only_plain_mail_is_looked_at(alice: Person) -> None:
    alice.receive(plain(letter(alice.address, text="plain words")))
    alice.receive(
        smime(
            letter(alice.address, text="sealed words", number=2),
            recipients=[alice.encryption_certificate],
        )
    )
    alice.lock()
    listed = look_until_nothing_is_left(alice)
    assert "plain words" in listed
    assert "sealed words" not in listed
    assert "Encrypted message" in listed


def test_what_cannot_be_opened_is_tried_once(alice: Person, bob: Correspondent) -> None:
    alice.receive(smime(letter(alice.address, subject="For Bob"), recipients=[bob.certificate]))
    listed = look_until_nothing_is_left(alice)
    assert "For Bob" in listed
    assert "Encrypted, could not be opened" in listed
    messages = lists.page(alice.inbox).messages
    assert peek.unopened(messages, unlocked=True) == []


def test_what_stays_closed_or_is_forged_says_nothing_of_its_senders_habit(
    alice: Person, bob: Correspondent
) -> None:
    for number in range(3):
        alice.receive(smime(letter(alice.address, number=number), signer=bob))
    alice.receive(smime(letter(alice.address, number=4), recipients=[bob.certificate]))
    forged = smime(letter(alice.address, text="pay 100", number=5), signer=bob)
    alice.receive(forged.replace(b"pay 100", b"pay 900"))
    look_until_nothing_is_left(alice)
    habit = history.of(alice.user.pk, bob.address)
    assert (habit.signed, habit.unsigned) == (3, 0)


def test_an_open_second_page_stays_the_second_page(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address)))
    for uid in range(1, lists.PAGE + 1):
        row.pk, row.uid, row.subject = None, 1000 + uid, f"Copy {uid}"
        row.save()
    Folder.objects.update(total=lists.PAGE + 1)
    context = alice.client.get(alice_list(alice), {"page": 2}).context
    assert "page=2" in context["poll_url"]


def test_mail_is_judged_again_when_revocation_data_has_arrived(
    alice: Person, bob: Correspondent
) -> None:
    from django.utils import timezone

    from webmail.certificates import material
    from webmail.certificates.models import RevocationList

    kept = list(RevocationList.objects.all())
    RevocationList.objects.all().delete()
    material.forget()
    row = alice.receive(smime(letter(alice.address), signer=bob))
    account = alice.user.mail_account
    assert judge.judge_signed(account) == 1
    row.refresh_from_db()
    assert row.verdict_state == "unverified"
    assert judge.judge_signed(account) == 0
    for each in kept:
        each.fetched_at = timezone.now()
        each.save(force_insert=True)
    material.forget()
    assert judge.judge_signed(account) == 1
    row.refresh_from_db()
    assert row.verdict_state == "verified"
