"""Signing in is opening the vault, with a real agent behind it."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from crypto_agent.config import SupervisorConfig
from tests.accounts.cast import ALICE, ALICES_PASSWORD, BOB, FORM, browser, post
from tests.support.agent_node import AgentNode
from webmail.accounts import sign_in, throttle
from webmail.accounts.models import BrowserSession, Throttle, User
from webmail.agent import door
from webmail.agent.models import KeySession

pytestmark = [pytest.mark.django_db, pytest.mark.process]

UNLOCK = settings.UNLOCK_COOKIE_NAME
SESSION = settings.SESSION_COOKIE_NAME
WRONG = "four calm words of mallory"


def signs_in(client: Client, address: str = ALICE, password: str = ALICES_PASSWORD) -> Any:
    return post(client, "/sign-in/", {"address": address, "password": password})


def state_of(client: Client) -> str | None:
    """As the header shows it: "unlocked", "locked", or None when nobody is signed in."""
    state = client.get("/settings/sessions/").context
    if state is None or state.get("lock_state") is None:
        return None
    found: str = state["lock_state"]["state"]
    return found


# --------------------------------------------------------------------------- in


def test_the_right_password_signs_in_and_unlocks(alice: User) -> None:
    client = browser()
    answer = signs_in(client)
    assert answer.status_code == 303
    cookie = answer.cookies[UNLOCK]
    assert cookie["secure"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"
    assert cookie["path"] == "/"
    assert not cookie["domain"]
    assert not cookie["max-age"]
    assert door.is_unlocked(alice.hex)
    assert state_of(client) == "unlocked"


def test_the_session_secret_is_in_the_cookie_and_nowhere_in_the_database(
    client_of_alice: Client,
) -> None:
    secret = client_of_alice.cookies[UNLOCK].value
    session = Session.objects.latest("expire_date")
    stored = str(session.get_decoded()) + str(list(KeySession.objects.values()))
    assert sign_in.KEY_SESSION in stored  # the session does know which agent session it is
    assert secret not in stored


def test_another_address_of_the_person_signs_in_too_in_any_case(alice: User) -> None:
    alice.addresses.create(address="adams@acme.example")
    assert signs_in(browser(), " Adams@ACME.example ").status_code == 303


@pytest.mark.parametrize("address", [ALICE, "nobody@acme.example", "not an address", ""])
def test_a_wrong_password_and_an_unknown_name_are_answered_alike(alice: User, address: str) -> None:
    started = time.monotonic()
    answer = signs_in(browser(), address, WRONG)
    took = time.monotonic() - started
    assert answer.status_code == 422
    assert answer.context["error"]["sentence"] == (
        "This address and password do not belong together."
    )
    assert UNLOCK not in answer.cookies
    assert SESSION not in answer.cookies
    assert took >= sign_in.REFUSAL_SECONDS
    assert took < 3 * sign_in.REFUSAL_SECONDS


def test_an_unknown_name_costs_the_agent_the_same_work(alice: User, settings: Any) -> None:
    """Beneath the even answer: nobody's vault is not refused in an instant."""
    from crypto_agent.protocol import ProtocolError

    def cost(user: str) -> float:
        started = time.monotonic()
        with pytest.raises(ProtocolError):
            door.unlock(user, way="password", secret=bytearray(WRONG.encode()))
        return time.monotonic() - started

    nobody = sign_in.decoy_id("nobody@acme.example")
    costs = [(cost(alice.hex), cost(nobody)) for _ in range(4)]
    known, unknown = (min(times) for times in zip(*costs, strict=True))
    assert unknown > 0.05  # Argon2id with our parameters takes longer anywhere
    assert unknown == pytest.approx(known, rel=0.5)


@pytest.mark.parametrize("change", [{"is_active": False}, {"activated_at": None}])
def test_who_is_disabled_or_not_activated_does_not_get_in(
    alice: User, change: dict[str, Any]
) -> None:
    User.objects.filter(pk=alice.pk).update(**change)
    assert signs_in(browser()).status_code == 422
    assert not door.is_unlocked(alice.hex)


def test_that_an_account_is_disabled_is_told_to_who_knows_its_password(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    told = signs_in(browser()).context["error"]
    assert "disabled" in told["sentence"]
    assert "administrator" in told["hint"]
    wrong = signs_in(browser(), ALICE, WRONG).context["error"]
    assert wrong == signs_in(browser(), "who@acme.example", WRONG).context["error"]


def test_a_session_that_was_there_before_is_not_taken_over(alice: User) -> None:
    client = browser()
    session = client.session
    session["planted"] = "by Mallory"
    session.save()
    client.cookies[SESSION] = session.session_key
    signs_in(client)
    assert client.cookies[SESSION].value != session.session_key
    assert "planted" not in client.session


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/settings/", "/settings/"),
        ("https://mallory.example/", "/"),
        ("//mallory.example/", "/"),
        ("/\\mallory.example/", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_after_signing_in_people_stay_on_this_site(alice: User, wanted: str, reached: str) -> None:
    fields = {"address": ALICE, "password": ALICES_PASSWORD, "next": wanted}
    assert post(browser(), "/sign-in/", fields)["Location"] == reached


# --------------------------------------------------------------------------- CSRF


def test_a_form_of_another_site_is_refused(alice: User) -> None:
    client = Client(enforce_csrf_checks=True)
    assert signs_in(client).status_code == 403
    assert not door.is_unlocked(alice.hex)


@pytest.mark.parametrize("way", ["in the form", "in the header"])
def test_our_own_form_passes_with_its_token(alice: User, way: str) -> None:
    client = Client(enforce_csrf_checks=True)
    page = client.get("/sign-in/").content.decode()
    token = re.search(r'name="csrfmiddlewaretoken"\s+value="([^"]+)"', page)
    assert token is not None
    fields = {"address": ALICE, "password": ALICES_PASSWORD}
    headers: dict[str, str] = {}
    if way == "in the form":
        fields["csrfmiddlewaretoken"] = token[1]
    else:
        headers["X-CSRFToken"] = token[1]
    assert post(client, "/sign-in/", fields, **headers).status_code == 303


# --------------------------------------------------------------------------- brakes


def test_too_many_tries_are_slowed_down_whatever_the_password(
    alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "REFUSAL_SECONDS", 0.0)
    tries = throttle.BY_NAME.capacity
    answers = [signs_in(browser(), ALICE, WRONG).status_code for _ in range(tries + 1)]
    assert answers == [422] * tries + [429]
    answer = signs_in(browser())
    assert answer.status_code == 429
    told = re.search(r"Wait (\d+) min", answer.context["error"]["hint"])
    assert told is not None
    assert int(told[1]) * 60 >= int(answer["Retry-After"]) > 0
    # After the time that was told the right password opens.
    long_ago = timezone.now() - timedelta(minutes=int(told[1]))
    Throttle.objects.update(updated_at=long_ago)
    assert signs_in(browser()).status_code == 303


def test_the_brake_of_the_web_gives_way_before_that_of_the_agent() -> None:
    brake = throttle.BY_NAME
    most = brake.capacity + SupervisorConfig.failure_window_s / brake.refill_seconds
    assert most <= SupervisorConfig.failures


def test_names_that_are_nobodys_are_slowed_down_alike(
    node: AgentNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "REFUSAL_SECONDS", 0.0)
    tries = throttle.BY_NAME.capacity
    answers = [signs_in(browser(), "who@acme.example", WRONG) for _ in range(tries + 1)]
    assert [each.status_code for each in answers] == [422] * tries + [429]


def test_trying_many_names_from_one_address_is_slowed_down(
    node: AgentNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(throttle.BY_NETWORK.capacity):
        throttle.take(throttle.BY_NETWORK, "127.0.0.1")
    assert signs_in(browser(), "who@acme.example", WRONG).status_code == 429


def test_good_passwords_do_not_count(alice: User) -> None:
    for _ in range(12):
        assert signs_in(browser()).status_code == 303
    assert all(bucket.tokens > 4 for bucket in Throttle.objects.all())


# --------------------------------------------------------------------------- locked and unlocked


def test_locking_takes_the_keys_and_leaves_the_person_signed_in(
    alice: User, client_of_alice: Client
) -> None:
    answer = post(client_of_alice, "/lock/", {"next": "/settings/"})
    assert (answer.status_code, answer["Location"]) == (303, "/settings/")
    assert not door.is_unlocked(alice.hex)
    assert not KeySession.objects.filter(user=alice).exists()
    assert state_of(client_of_alice) == "locked"


def test_unlocking_in_place_gives_a_new_cookie_and_a_new_session_id(
    client_of_alice: Client,
) -> None:
    before = {name: client_of_alice.cookies[name].value for name in (UNLOCK, SESSION)}
    post(client_of_alice, "/lock/", {})
    answer = post(
        client_of_alice,
        "/unlock/",
        {"password": ALICES_PASSWORD, "back_to": "/settings/"},
        **{"HX-Request": "true"},
    )
    assert answer.status_code == 200
    assert answer["HX-Trigger"] == "unlocked"
    after = {name: client_of_alice.cookies[name].value for name in (UNLOCK, SESSION)}
    assert after[UNLOCK] != before[UNLOCK]
    assert after[SESSION] != before[SESSION]
    assert state_of(client_of_alice) == "unlocked"


def test_unlocking_with_a_wrong_password_says_so_in_place(client_of_alice: Client) -> None:
    post(client_of_alice, "/lock/", {})
    answer = post(client_of_alice, "/unlock/", {"password": WRONG}, **{"HX-Request": "true"})
    assert answer.status_code == 422
    assert answer.templates[0].name == "accounts/_unlock.html"
    assert answer.context["error"]["sentence"] == "This is not your password."
    assert state_of(client_of_alice) == "locked"


def test_without_the_cookie_the_session_is_locked(client_of_alice: Client) -> None:
    del client_of_alice.cookies[UNLOCK]
    assert state_of(client_of_alice) == "locked"


@pytest.mark.parametrize("cookie", ["", "x", "AAAA", "ä", "A" * 44, "=" * 44])
def test_a_cookie_that_is_none_is_taken_away(client_of_alice: Client, cookie: str) -> None:
    client_of_alice.cookies[UNLOCK] = cookie
    answer = client_of_alice.get("/settings/")
    assert answer.status_code == 200


def test_the_cookie_alone_opens_nothing(client_of_alice: Client) -> None:
    thief = browser()
    thief.cookies[UNLOCK] = client_of_alice.cookies[UNLOCK].value
    assert thief.get("/settings/").status_code == 302
    assert state_of(thief) is None


def test_another_persons_cookie_does_not_use_alices_keys(
    alice: User, client_of_alice: Client
) -> None:
    """The row is Alice's and alive; the secret is not. The agent's proof decides."""
    from crypto_agent.protocol import ErrorCode, ProtocolError

    holder = door.KeyHolderSession(
        alice.hex, str(client_of_alice.session[sign_in.KEY_SESSION]), b"m" * 32
    )
    with pytest.raises(ProtocolError) as caught:
        door.call(holder, "ping", {})
    assert caught.value.code in (ErrorCode.FORGED, ErrorCode.WRONG_SESSION)


def test_an_idle_session_locks_by_itself(client_of_alice: Client, settings: Any) -> None:
    quarter = timedelta(seconds=settings.SESSION_IDLE_SECONDS + 1)
    KeySession.objects.update(used_at=timezone.now() - quarter)
    assert state_of(client_of_alice) == "locked"
    assert not KeySession.objects.exists()


def test_using_the_page_keeps_it_unlocked_and_polling_does_not(client_of_alice: Client) -> None:
    long_ago = timezone.now() - timedelta(minutes=10)
    KeySession.objects.update(used_at=long_ago)
    client_of_alice.get("/settings/", headers={"X-Sealpost-Background": "1"})
    assert KeySession.objects.get().used_at == long_ago
    client_of_alice.get("/settings/")
    assert KeySession.objects.get().used_at > long_ago


def test_a_session_ends_for_good_after_its_longest_time(client_of_alice: Client) -> None:
    KeySession.objects.update(expires_at=timezone.now())
    assert state_of(client_of_alice) == "locked"


def test_a_sign_in_ends_after_its_longest_time(client_of_alice: Client, settings: Any) -> None:
    session = client_of_alice.session
    session[sign_in.SIGNED_IN_AT] -= settings.SESSION_COOKIE_AGE
    session.save()
    assert client_of_alice.get("/settings/").status_code == 302


def test_signing_out_locks_and_forgets_the_browser(alice: User, client_of_alice: Client) -> None:
    row = client_of_alice.session[sign_in.BROWSER_SESSION]
    answer = post(client_of_alice, "/sign-out/", {})
    assert answer.cookies[UNLOCK].value == ""
    assert not door.is_unlocked(alice.hex)
    assert client_of_alice.get("/settings/").status_code == 302
    assert not BrowserSession.objects.filter(pk=row).exists()


def test_signing_out_or_locking_by_a_link_is_not_possible(client_of_alice: Client) -> None:
    for path in ("/sign-out/", "/lock/", "/lock/all/"):
        assert client_of_alice.get(path).status_code == 405
    assert state_of(client_of_alice) == "unlocked"


# --------------------------------------------------------------------------- several browsers


def test_panic_locks_every_browser_and_signs_the_others_out(
    alice: User, client_of_alice: Client
) -> None:
    other = browser()
    signs_in(other)
    assert state_of(other) == "unlocked"
    post(client_of_alice, "/lock/all/", {"sign_out": "1"})
    assert not door.is_unlocked(alice.hex)
    assert state_of(client_of_alice) == "locked"
    assert state_of(other) is None


def test_one_browser_can_be_signed_out_from_another(alice: User, client_of_alice: Client) -> None:
    other = browser()
    signs_in(other)
    row = alice.browser_sessions.get(pk=other.session[sign_in.BROWSER_SESSION])
    post(client_of_alice, f"/settings/sessions/{row.pk}/revoke/", {})
    assert state_of(other) is None
    assert state_of(client_of_alice) == "unlocked"


def test_nobody_elses_browser_can_be_signed_out(alice: User, client_of_alice: Client) -> None:
    bob = User.objects.create_user(BOB)
    row = bob.browser_sessions.create(label="Bob's")
    answer = post(client_of_alice, f"/settings/sessions/{row.pk}/revoke/", {})
    assert answer.status_code == 404
    row.refresh_from_db()
    assert row.revoked_at is None


# --------------------------------------------------------------------------- when parts are down


def test_a_missing_key_service_is_told_in_one_sentence(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webmail.agent.models import Lease, Node

    Lease.objects.all().delete()
    Node.objects.all().delete()
    answer = signs_in(browser())
    assert answer.status_code == 503
    assert "key service" in answer.context["error"]["sentence"].lower()
    assert answer.context["error"]["hint"]


def test_a_form_that_is_none_gets_a_page_with_an_error_number() -> None:
    answer = browser().post("/sign-in/", b"{}", content_type="application/json")
    assert answer.status_code == 400
    assert re.search(r"\b[0-9a-f]{8}\b", answer.content.decode())


def test_a_password_of_many_kinds_of_letters_works_through_a_form(node: AgentNode) -> None:
    from tests.accounts.cast import accept, add_person

    password = "grüße & küße + 100 % ✉"
    accept(browser(), add_person(ALICE, "Alice"), password)
    client = browser()
    body = urlencode({"address": ALICE, "password": password})
    assert client.post("/sign-in/", body, content_type=FORM).status_code == 303
