"""A new password, a lost password, and what the person can see of it afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from tests.accounts.cast import ALICE, ALICES_PASSWORD, RECOVERY_CODE, browser, post
from webmail.accounts.models import User
from webmail.agent.models import KeyUse

pytestmark = [pytest.mark.django_db, pytest.mark.process]

NEW = "a wholly different sentence"


def signs_in(password: str) -> int:
    return post(browser(), "/sign-in/", {"address": ALICE, "password": password}).status_code


def change(client: Client, secret: str, new: str = NEW, **more: str) -> Any:
    fields = {"secret": secret, "new_password": new, "new_password_again": new, **more}
    return post(client, "/settings/password/", fields)


def test_the_new_password_opens_and_the_old_one_does_not(client_of_alice: Client) -> None:
    answer = change(client_of_alice, ALICES_PASSWORD)
    assert answer.status_code == 200, answer.content.decode()
    assert answer.context["recovery_code"] == ""
    assert signs_in(ALICES_PASSWORD) == 422
    assert signs_in(NEW) == 303


def test_this_browser_goes_on_and_all_others_are_signed_out(
    alice: User, client_of_alice: Client
) -> None:
    other = browser()
    post(other, "/sign-in/", {"address": ALICE, "password": ALICES_PASSWORD})
    change(client_of_alice, ALICES_PASSWORD)
    assert other.get("/settings/").status_code == 302
    page = client_of_alice.get("/settings/")
    assert page.status_code == 200
    assert page.context["lock_state"]["state"] == "unlocked"


def test_a_wrong_old_password_changes_nothing(client_of_alice: Client) -> None:
    assert change(client_of_alice, "not the one she has").status_code == 422
    assert signs_in(ALICES_PASSWORD) == 303


def test_a_weak_new_password_is_refused_before_anything_is_asked(client_of_alice: Client) -> None:
    answer = change(client_of_alice, ALICES_PASSWORD, "short")
    assert answer.status_code == 422
    assert "too short" in answer.context["error"]["sentence"]
    assert signs_in(ALICES_PASSWORD) == 303


def test_the_recovery_code_sets_a_password_from_the_settings(
    alice: User, client_of_alice: Client
) -> None:
    code: str = alice.recovery_code  # type: ignore[attr-defined]
    assert change(client_of_alice, code, way="recovery").status_code == 200
    assert signs_in(NEW) == 303


def test_a_new_recovery_code_replaces_the_old_one(alice: User, client_of_alice: Client) -> None:
    answer = change(client_of_alice, ALICES_PASSWORD, new_recovery="1")
    code = answer.context["recovery_code"]
    assert RECOVERY_CODE.fullmatch(code)
    old: str = alice.recovery_code  # type: ignore[attr-defined]
    assert recover(old).status_code == 422
    assert recover(code).status_code == 200


def recover(code: str, new: str = NEW, client: Client | None = None) -> Any:
    fields = {
        "address": ALICE,
        "recovery_code": code,
        "new_password": new,
        "new_password_again": new,
    }
    return post(client or browser(), "/recover/", fields)


def test_who_lost_the_password_gets_in_with_the_recovery_code(alice: User) -> None:
    client = browser()
    answer = recover(alice.recovery_code, client=client)  # type: ignore[attr-defined]
    assert answer.status_code == 200
    assert RECOVERY_CODE.fullmatch(answer.context["recovery_code"])
    assert client.get("/settings/").context["lock_state"]["state"] == "unlocked"
    assert signs_in(NEW) == 303
    assert signs_in(ALICES_PASSWORD) == 422


def test_a_used_recovery_code_opens_nothing_any_more(alice: User) -> None:
    code: str = alice.recovery_code  # type: ignore[attr-defined]
    assert recover(code).status_code == 200
    assert recover(code).status_code == 422


def test_a_code_is_read_as_people_write_it_down(alice: User) -> None:
    code: str = alice.recovery_code  # type: ignore[attr-defined]
    assert recover(code.lower().replace("-", " ")).status_code == 200


@pytest.mark.parametrize("address", [ALICE, "nobody@acme.example"])
def test_a_wrong_code_and_an_unknown_name_are_answered_alike(alice: User, address: str) -> None:
    fields = {
        "address": address,
        "recovery_code": "AAAA-" * 7 + "AAAA",
        "new_password": NEW,
        "new_password_again": NEW,
    }
    answer = post(browser(), "/recover/", fields)
    assert answer.status_code == 422
    assert answer.context["error"]["sentence"] == (
        "This address and recovery code do not belong together."
    )
    assert signs_in(ALICES_PASSWORD) == 303


# --------------------------------------------------------------------------- key activity


def test_key_activity_tells_what_was_done_newest_first(client_of_alice: Client) -> None:
    change(client_of_alice, "not the one she has")
    answer = client_of_alice.get("/settings/key-activity/")
    rows = answer.context["page"].rows
    assert answer.context["chain"]["whole"]
    assert [(row.words, row.good) for row in rows[:2]] == [
        ("Password changed", False),
        ("Unlocked with the password", True),
    ]


def test_a_changed_row_shows(alice: User, client_of_alice: Client) -> None:
    first = KeyUse.objects.filter(holder=alice.hex).order_by("number").first()
    assert first is not None
    KeyUse.objects.filter(pk=first.pk).update(operation="nothing")
    chain = client_of_alice.get("/settings/key-activity/").context["chain"]
    assert not chain["whole"]
    assert "entry 1 " in chain["sentence"]


def test_a_removed_row_shows(alice: User, client_of_alice: Client) -> None:
    last = KeyUse.objects.filter(holder=alice.hex).order_by("-number").first()
    assert last is not None
    last.delete()
    assert not client_of_alice.get("/settings/key-activity/").context["chain"]["whole"]


def test_key_activity_has_pages_of_fifty(alice: User, client_of_alice: Client) -> None:
    from webmail.agent import audit

    audit.record(alice.hex, "", [audit.Use("decrypt") for _ in range(120)])
    first = client_of_alice.get("/settings/key-activity/").context["page"]
    assert len(first.rows) == 50
    assert first.has_next
    assert not first.has_previous
    last = client_of_alice.get("/settings/key-activity/?page=3").context["page"]
    assert 0 < len(last.rows) < 50
    assert not last.has_next


@pytest.mark.parametrize("page", ["0", "-1", "99", "x", "٣", "9" * 30])
def test_pages_that_are_not_there_are_not_found(client_of_alice: Client, page: str) -> None:
    assert client_of_alice.get(f"/settings/key-activity/?page={page}").status_code == 404


def test_mallory_sees_nothing_of_alices_activity(alice: User, client_of_alice: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM agent_keyuse WHERE holder = %s", [alice.hex])
        assert cursor.fetchone()[0] > 0
    mallory = User.objects.create_user("mallory@acme.example")
    from webmail.accounts import activity

    assert activity.page_of(mallory, "1").rows == []


# --------------------------------------------------------------------------- settings


def test_settings_are_kept_and_used(alice: User, client_of_alice: Client) -> None:
    fields = {
        "display_name": "Alice A.",
        "time_zone": "Asia/Shanghai",
        "undo_send_seconds": "20",
        "signature_text": "Alice\nAcme",
    }
    assert post(client_of_alice, "/settings/", fields).status_code == 303
    alice.refresh_from_db()
    assert (alice.display_name, alice.undo_send_seconds) == ("Alice A.", 20)
    page = client_of_alice.get("/settings/")
    assert page.context["form"]["time_zone"].value() == "Asia/Shanghai"


def test_a_language_is_only_offered_where_there_is_a_choice(client_of_alice: Client) -> None:
    assert "language" not in client_of_alice.get("/settings/").context["form"].fields


@pytest.mark.parametrize("wrong", [{"time_zone": "Mars/Olympus"}, {"undo_send_seconds": "61"}])
def test_impossible_settings_are_refused_on_the_page(
    client_of_alice: Client, wrong: dict[str, str]
) -> None:
    fields = {
        "display_name": "A",
        "time_zone": "UTC",
        "undo_send_seconds": "1",
        **wrong,
    }
    answer = post(client_of_alice, "/settings/", fields)
    assert answer.status_code == 422
    assert answer.context["form"].errors


def test_nobody_makes_themselves_administrator(alice: User, client_of_alice: Client) -> None:
    fields = {"display_name": "A", "time_zone": "UTC", "undo_send_seconds": "1"}
    post(client_of_alice, "/settings/", {**fields, "is_staff": "on", "is_superuser": "on"})
    alice.refresh_from_db()
    assert not alice.is_staff
    assert not alice.is_superuser
