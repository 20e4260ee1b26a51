"""Answers: to whom, under which subject, with which words of the original."""

from __future__ import annotations

from typing import Any

import pytest

from webmail.accounts.models import Address, User
from webmail.compose import build, drafts
from webmail.compose.drafts import About, Content, Mailbox
from webmail.compose.views import _without_secrets

pytestmark = pytest.mark.django_db

ALICE = "alice@acme.example"
SALES = "sales@acme.example"
BOB = {"name": "Bob", "address": "bob@partner.example"}
CAROL = {"name": "", "address": "carol@partner.example"}
MALLORY = {"name": "Bob", "address": "mallory@evil.example"}
ME = {"name": "Alice", "address": "Alice@ACME.example"}


@pytest.fixture
def alice() -> User:
    user = User.objects.create_user(ALICE, display_name="Alice Adams")
    Address.objects.create(user=user, address=ALICE, primary=True)
    Address.objects.create(user=user, address=SALES)
    return user


def result(*, encrypted: bool = False, protected: Any = None, **head: Any) -> dict[str, Any]:
    return {
        "verdict": {"encryption": {"encrypted": encrypted}},
        "headers": {
            "subject": "The plan",
            "from": [BOB],
            "to": [ME],
            "cc": [],
            "bcc": [],
            "reply_to": [],
            "date": 1_764_000_000_000,
            "message_id": "two@partner.example",
            "in_reply_to": "",
            "references": ["one@partner.example"],
            "protected": protected or {},
            **head,
        },
        "quote": {"text": "We begin on Thursday.\n> earlier", "html": None},
        "bodies": [],
        "attachments": [],
    }


def answer(user: User, given: dict[str, Any], mode: str = "reply") -> build.Built:
    return build.build(user, 7, 11, given, mode)


def addresses(mailboxes: tuple[Mailbox, ...]) -> list[str]:
    return [each.address for each in mailboxes]


def test_a_reply_goes_to_the_author_and_continues_the_thread(alice: User) -> None:
    content = answer(alice, result()).content
    assert addresses(content.to) == ["bob@partner.example"]
    assert content.cc == ()
    assert content.subject == "Re: The plan"
    assert content.in_reply_to == "<two@partner.example>"
    assert content.references == ("<one@partner.example>", "<two@partner.example>")
    assert "Bob wrote:" in content.text
    assert "> We begin on Thursday." in content.text
    assert ">> earlier" in content.text


def test_reply_to_is_followed(alice: User) -> None:
    content = answer(alice, result(reply_to=[CAROL])).content
    assert addresses(content.to) == ["carol@partner.example"]


def test_reply_to_all_leaves_out_oneself_and_names_nobody_twice(alice: User) -> None:
    given = result(to=[ME, CAROL, BOB], cc=[{"name": "", "address": SALES}, {**CAROL, "name": "C"}])
    content = answer(alice, given, "reply_all").content
    assert addresses(content.to) == ["bob@partner.example"]
    assert addresses(content.cc) == ["carol@partner.example"]


def test_answering_ones_own_mail_writes_to_the_same_people(alice: User) -> None:
    given = result(**{"from": [ME], "to": [BOB], "cc": [CAROL]})
    assert addresses(answer(alice, given).content.to) == ["bob@partner.example"]
    content = answer(alice, given, "reply_all").content
    assert addresses(content.cc) == ["carol@partner.example"]


def test_the_address_that_was_written_to_answers(alice: User) -> None:
    assert (
        answer(alice, result(to=[{"name": "", "address": SALES}])).content.sender.address == SALES
    )
    assert answer(alice, result()).content.sender.address == ALICE


def test_recipients_come_from_protected_headers_only(alice: User) -> None:
    """Mallory adds a Reply-To and a Cc outside of what Bob signed."""
    protected = {"from": "signed-only", "to": "signed-only", "reply-to": "unprotected",
                 "cc": "unprotected"}  # fmt: skip
    given = result(protected=protected, reply_to=[MALLORY], cc=[MALLORY], to=[ME, CAROL])
    content = answer(alice, given, "reply_all").content
    assert addresses((*content.to, *content.cc)) == ["bob@partner.example", "carol@partner.example"]
    # Positive control: in a mail that protects no header they are all there is.
    given = result(protected={"from": "unprotected"}, reply_to=[CAROL])
    assert addresses(answer(alice, given).content.to) == ["carol@partner.example"]


@pytest.mark.parametrize(
    ("before", "reply", "forward"),
    [
        ("The plan", "Re: The plan", "Fwd: The plan"),
        ("Re: The plan", "Re: The plan", "Fwd: Re: The plan"),
        ("RE: re: Re[2]: The plan", "Re: The plan", "Fwd: RE: re: Re[2]: The plan"),
        ("AW: Plan", "Re: Plan", "Fwd: AW: Plan"),
        ("回复：计划", "Re: 计划", "Fwd: 回复：计划"),
        ("Fwd: The plan", "Re: Fwd: The plan", "Fwd: The plan"),
        ("Return: the plan", "Re: Return: the plan", "Fwd: Return: the plan"),
        ("", "Re:", "Fwd:"),
    ],
)
def test_one_prefix_and_never_a_chain(before: str, reply: str, forward: str) -> None:
    assert build.reply_subject(before) == reply
    assert build.forward_subject(before) == forward


def test_long_threads_keep_their_root_and_the_newest(alice: User) -> None:
    chain = [f"{number}@partner.example" for number in range(100)]
    references = answer(alice, result(references=chain)).content.references
    assert len(references) == build.REFERENCES_LIMIT
    assert references[0] == "<0@partner.example>"
    assert references[-1] == "<two@partner.example>"


def test_an_identifier_that_could_say_more_is_left_out(alice: User) -> None:
    given = result(message_id="x@y>\r\nBcc: mallory@evil.example", references=["a b@c", "<ok@x>"])
    content = answer(alice, given).content
    assert content.in_reply_to == ""
    assert content.references == ("<ok@x>",)


def test_a_forward_names_the_original_and_starts_a_thread_of_its_own(alice: User) -> None:
    built = answer(alice, result(), "forward")
    assert (built.content.to, built.content.cc, built.content.references) == ((), (), ())
    assert built.content.subject == "Fwd: The plan"
    assert "From: Bob <bob@partner.example>" in built.content.text
    assert "We begin on Thursday." in built.content.text


def test_only_what_the_agent_gives_as_quote_is_quoted(alice: User) -> None:
    """A stranger's encrypted part beside his own text comes back as no quote at all."""
    given = {**result(), "quote": {"text": "", "html": None}}
    given["bodies"] = [{"text": "decrypted bait", "protection": "encrypted-only", "root": False}]
    assert "bait" not in answer(alice, given).content.text
    assert "wrote:" not in answer(alice, given).content.text


def test_the_signature_stands_above_the_quote(alice: User) -> None:
    alice.signature_text = "Alice Adams\nAcme"
    text = answer(alice, result()).content.text
    assert text.index("-- \nAlice Adams\nAcme\n") < text.index("Bob wrote:")


def test_an_encrypted_original_is_remembered_as_such(alice: User) -> None:
    assert answer(alice, result(encrypted=True)).about.encrypted
    assert not answer(alice, result()).about.encrypted


def test_before_leaving_in_clear_quote_and_subject_of_an_encrypted_mail_are_taken_out(
    alice: User,
) -> None:
    built = answer(alice, result(encrypted=True))
    content = Content(
        sender=built.content.sender,
        to=built.content.to,
        subject=built.content.subject,
        text="Yes, fine.\n" + built.content.text,
        html="<blockquote>We begin on Thursday.</blockquote>",
    )
    bare = _without_secrets(content, built.about)
    assert bare.text.strip() == "Yes, fine."
    assert bare.html is None
    assert bare.subject == "Re: [...]"
    assert _without_secrets(bare, built.about) == bare


def test_lines_taken_over_without_their_quote_marks_are_taken_out_too(alice: User) -> None:
    about = answer(alice, result(encrypted=True)).about
    content = Content(sender=Mailbox("", ALICE), subject="New", text="We begin on Thursday.\nOk\n")
    assert _without_secrets(content, about).text == "Ok\n"


def test_an_answer_in_ones_own_words_stays_as_it_is(alice: User) -> None:
    about = answer(alice, result(encrypted=True)).about
    content = Content(sender=Mailbox("", ALICE), subject="Lunch?", text="At noon.\n")
    assert _without_secrets(content, about) == content


def test_a_mailto_link_fills_to_cc_subject_and_text_and_nothing_else(alice: User) -> None:
    built = build.new(
        alice, to="bob@partner.example, <evil", cc="", subject="Hi\r\nBcc: x", body="T"
    )
    assert addresses(built.content.to) == ["bob@partner.example"]
    assert "\n" not in built.content.subject
    assert built.content.bcc == ()
    assert built.files == ()


def test_what_a_draft_is_about_survives_its_sealing() -> None:
    content = Content(
        sender=Mailbox("A", ALICE), to=(Mailbox("", "half"),), text="x", references=("<a@b>",)
    )
    assert drafts.from_wire(drafts.to_wire(content, [])) == content
    assert About().references == ()
