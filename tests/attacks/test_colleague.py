"""The commonest fraud: a mail from outside in the name of somebody of the house."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from tests.reading.conftest import Person, letter, plain
from webmail.mailbox.models import Message

pytestmark = pytest.mark.process

SAID = "Not signed – this sender normally signs."
SAID_IN_LIST = "Not signed, although this sender normally signs"


def page(person: Person, row: Message) -> str:
    answer = person.client.get(reverse("reading:message", kwargs=row.address()))
    assert answer.status_code == 200
    return answer.content.decode()


def list_page(person: Person, row: Message) -> str:
    answer = person.client.get(reverse("reading:folder", kwargs={"folder_id": row.folder_id}))
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_first_unsigned_mail_in_a_colleagues_name_is_told(
    alice: Person, mallory: Person
) -> None:
    boss = mallory
    forged = letter(alice.address, sender=f"The Boss <{boss.address.upper()}>", text="Pay at once")
    row = alice.receive(plain(forged))
    assert SAID in page(alice, row)
    assert SAID_IN_LIST in list_page(alice, row)
    stranger = alice.receive(plain(letter(alice.address, number=2)))
    assert SAID not in page(alice, stranger), "nothing is known of a stranger"
    Message.objects.filter(pk=row.pk).update(
        internal_date=boss.user.activated_at - timedelta(days=1)  # type: ignore[operator]
    )
    assert SAID_IN_LIST not in list_page(alice, row)
    assert SAID not in page(alice, row), "it came before this colleague had keys"
