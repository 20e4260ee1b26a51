"""Every address of the site, asked by nobody, by another person, and by a foreign site."""

from __future__ import annotations

import io
import re
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from tests.accounts.cast import FORM, post
from tests.attacks.cases import (
    CASES,
    OWNED,
    PUBLIC,
    address,
    belongings,
    names,
    remote,
)
from tests.reading.conftest import Person
from webmail.accounts.models import BrowserSession
from webmail.compose.models import Draft, DraftAttachment, Outgoing
from webmail.mailbox.models import Folder, Message

pytestmark = pytest.mark.process

IN_THE_WAY = {302, 303, 401}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
BOTH = {"accounts:sign_in", "accounts:recover", "accounts:unlock", "accounts:settings",
        "accounts:password", "onboarding:ready", "onboarding:invitation"}  # fmt: skip
"""Pages whose form comes back to the same address."""


def ask(client: Client, name: str, where: str, **headers: str) -> HttpResponse:
    case = CASES[name]
    if case.method == "POST":
        return post(client, where, case.form, **headers)
    answer: Any = client.get(where, headers=headers)
    return answer  # type: ignore[no-any-return]


def leads_to_sign_in(answer: HttpResponse) -> bool:
    where = answer.headers.get("Location", "") + answer.headers.get("HX-Redirect", "")
    return answer.status_code in IN_THE_WAY and where.startswith(reverse("accounts:sign_in"))


def test_no_address_is_without_a_case() -> None:
    """Whoever adds an address says here whose it is."""
    assert sorted(names()) == sorted(CASES)


def test_nobody_gets_behind_the_sign_in(alice: Person) -> None:
    ids = belongings(alice)
    before = contents()
    for name, case in CASES.items():
        where = address(name, ids)
        for headers in ({}, {"HX-Request": "true"}):
            answer = ask(Client(), name, where, **headers)
            if case.who == PUBLIC:
                assert answer.status_code in {200, 303, 403, 410}, name
            else:
                assert leads_to_sign_in(answer), (name, answer.status_code)
    assert contents() == before


def contents() -> list[Any]:
    """What an intruder could have changed."""
    models = (Draft, DraftAttachment, Outgoing, Message, Folder)
    rows: list[Any] = [list(model._default_manager.order_by("pk").values()) for model in models]
    return [*rows, list(BrowserSession.objects.order_by("pk").values("pk", "revoked_at"))]


def test_nobody_elses_things_are_there_at_all(alice: Person, mallory: Person) -> None:
    ids = belongings(alice)
    before = contents()
    hers = {name: address(name, ids) for name, case in CASES.items() if case.who == OWNED}
    for name, where in hers.items():
        for headers in ({}, {"HX-Request": "true"}):
            answer = ask(mallory.client, name, where, **headers)
            assert answer.status_code == 404, (name, answer.status_code)
            assert alice.address not in answer.content.decode()
    # Her mail under Mallory's own folder, too.
    mixed = {**ids, "folder_id": mallory.inbox.pk}
    for name in hers:
        if "uid" in CASES[name].needs:
            answer = ask(mallory.client, name, address(name, mixed))
            assert answer.status_code == 404, name
    assert contents() == before
    # The control: they are there for Alice. What is done to them comes last.
    for name in sorted(hers, key=lambda name: CASES[name].method):
        if name == "compose:discard":
            continue
        answer = ask(alice.client, name, hers[name])
        known = {"reading:certificate"}  # her mail has no signer
        assert answer.status_code != 404 or name in known, name
        assert not leads_to_sign_in(answer), name
    assert contents() != before


def test_ids_inside_a_form_are_checked_as_well(alice: Person, mallory: Person) -> None:
    ids = belongings(alice)
    before = contents()
    message = Message.objects.get(folder_id=ids["folder_id"], uid=ids["uid"])
    own = mallory.receive(b"Subject: own\r\n\r\nx\r\n")
    steal = {"action": "move", "ids": str(own.pk), "target": str(ids["folder_id"])}
    tries: list[tuple[str, dict[str, str], set[int]]] = [
        ("reading:act", {"action": "delete", "ids": str(message.pk)}, {303}),
        ("reading:act", steal, {303}),
        ("compose:save", {"draft": str(ids["draft"]), "version": "0", "subject": "x"}, {404}),
        ("compose:send", {"draft": str(ids["draft"]), "to": mallory.address}, {404}),
        ("compose:send", {"send_id": str(ids["outgoing"]), "to": mallory.address, "subject": "s",
                          "text": "t", "from": alice.address}, {422}),
        ("compose:attach_new", {"draft": str(ids["draft"]), "subject": "x"}, {404}),
        ("compose:pin", {"address": alice.address, "choice": "accept"}, {303}),
    ]  # fmt: skip
    mine = Draft.objects.filter(user=mallory.user)
    for name, form, expected in tries:
        answer = post(mallory.client, reverse(name), form)
        assert answer.status_code in expected, (name, form, answer.status_code)
    mine.delete()
    own.delete()
    assert contents()[:3] == before[:3]
    message.refresh_from_db()
    assert message.folder_id == ids["folder_id"]
    reply = f"reply={ids['folder_id']}/{ids['uid']}"
    for query in (reply, f"{reply}&mode=forward"):
        assert mallory.client.get(f"{reverse('compose:new')}?{query}").status_code == 404
        assert alice.client.get(f"{reverse('compose:new')}?{query}").status_code == 302
    poll = reverse("reading:poll")
    assert mallory.client.get(poll, {"folder": ids["folder_id"]}).status_code == 404
    assert alice.client.get(poll, {"folder": ids["folder_id"]}).status_code == 200


@pytest.mark.parametrize("number", ["²", "٣", "9" * 30, "9" * 5_000, "-1", "1e3", "0x1", " ", "\0"])
def test_a_number_that_is_none_is_no_error_of_ours(alice: Person, number: str) -> None:
    alice.client.raise_request_exception = False
    for answer in (
        post(alice.client, reverse("reading:act"), {"action": "read", "ids": number}),
        post(alice.client, reverse("reading:act"),
             {"action": "move", "ids": "1", "target": number}),
        alice.client.get(reverse("reading:poll"), {"folder": number}),
        alice.client.get(reverse("reading:poll"), {"folder": alice.inbox.pk, "seen": number}),
        alice.client.get(reverse("compose:new"), {"reply": f"{number}/1"}),
        alice.client.get(reverse("compose:new"), {"reply": f"1/{number}"}),
        alice.client.get(reverse("accounts:key_activity"), {"page": number}),
        alice.client.get(reverse("reading:folder", args=[alice.inbox.pk]), {"page": number}),
        alice.client.get(reverse("reading:folder", args=[alice.inbox.pk]), {"q": number}),
        post(alice.client, reverse("compose:save"), {"version": number, "draft": number}),
        alice.client.get(f"/mail/{quote(number)}/"),
        alice.client.get(f"/mail/{alice.inbox.pk}/{quote(number)}/"),
    ):  # fmt: skip
        assert answer.status_code < 500


def test_no_address_takes_another_method(alice: Person) -> None:
    ids = belongings(alice)
    for name, case in CASES.items():
        allowed = {"GET", "POST"} if name in BOTH else {case.method}
        for method in METHODS:
            if method in allowed:
                continue
            answer = alice.client.generic(method, address(name, ids), b"", content_type=FORM)
            assert answer.status_code == 405, (name, method, answer.status_code)


def test_a_form_of_a_foreign_site_does_nothing(alice: Person) -> None:
    ids = belongings(alice)
    before = contents()
    victim = Client(enforce_csrf_checks=True)
    victim.cookies = alice.client.cookies
    alice.client.get(reverse("accounts:settings"))  # sets the token's cookie
    for name, case in CASES.items():
        if case.method != "POST" and name not in BOTH:
            continue
        without = {"next": "/", **case.form}
        for form in (without, {**without, "csrfmiddlewaretoken": "x" * 64}):
            answer = post(victim, address(name, ids), form)
            assert answer.status_code == 403, (name, answer.status_code)
    assert contents() == before
    page = victim.get(reverse("accounts:settings")).content.decode()
    token = re.search(r'name="csrf-token" content="(\w+)"', page)
    assert token is not None
    form = {"csrfmiddlewaretoken": token[1]}
    elsewhere = {"Origin": "https://mallory.example"}
    assert post(victim, reverse("accounts:lock"), form, **elsewhere).status_code == 403
    assert post(victim, reverse("accounts:lock"), form).status_code == 303, "the control"


class Counted(io.BytesIO):
    """A body that tells how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def test_a_stranger_cannot_fill_the_memory(alice: Person) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    data = head + b"x" * 200_000 + b"\r\n--b--\r\n"
    taken = []
    for client in (Client(enforce_csrf_checks=True), alice.client):
        body = Counted(data)
        client.generic(
            "POST",
            reverse("compose:attach_new"),
            **{
                "wsgi.input": body,
                "CONTENT_LENGTH": str(len(data)),
                "CONTENT_TYPE": "multipart/form-data; boundary=b",
            },
        )
        taken.append(body.taken)
    assert taken[0] == 0
    assert taken[1] == len(data), "the control: Alice may attach"


# --------------------------------------------------------------------------- what answers say


def policy_of(answer: HttpResponse) -> dict[str, list[str]]:
    words = (each.split() for each in answer["Content-Security-Policy"].split(";"))
    return {name: sources for name, *sources in words}


def test_every_answer_is_under_a_policy_and_stays_private(alice: Person) -> None:
    ids = belongings(alice)
    signed_in = {name: ask(alice.client, name, address(name, ids))
                 for name, case in CASES.items() if case.method == "GET"}  # fmt: skip
    signed_in["a picture"] = alice.client.get(remote(alice))
    signed_in["nothing"] = alice.client.get("/nothing")
    signed_in["refused"] = alice.client.get(reverse("accounts:lock"))
    documents = 0
    for name, answer in signed_in.items():
        policy = policy_of(answer)
        assert policy["default-src"] == ["'none'"], name
        assert "frame-ancestors" in policy or "sandbox" in policy, name
        for words in policy.values():
            assert "'unsafe-eval'" not in words, name
            assert not {"*", "http:", "https:", "blob:"} & set(words), name
        assert policy.get("script-src", ["'self'"]) == ["'self'"], name
        if "'unsafe-inline'" in policy.get("style-src", []):
            assert "sandbox" in policy, name
            assert not {"allow-scripts", "allow-same-origin"} & set(policy["sandbox"]), name
            documents += 1
        assert answer["X-Content-Type-Options"] == "nosniff", name
        assert answer["Referrer-Policy"] in {"same-origin", "no-referrer"}, name
        assert answer["X-Frame-Options"] in {"DENY", "SAMEORIGIN"}, name
        assert answer["Cross-Origin-Opener-Policy"] == "same-origin", name
        if CASES.get(name) and CASES[name].who != PUBLIC:
            assert "no-store" in answer["Cache-Control"], name
            assert "public" not in answer["Cache-Control"], name
    assert documents >= 2, "the body and the print of a mail"


def test_cookies_are_for_this_host_over_tls_and_for_no_script(alice: Person) -> None:
    alice.client.get(reverse("accounts:settings"))
    cookies = alice.client.cookies
    named = {settings.SESSION_COOKIE_NAME, settings.UNLOCK_COOKIE_NAME, settings.CSRF_COOKIE_NAME}
    assert named <= set(cookies)
    for name, cookie in cookies.items():
        assert name.startswith("__Host-")
        assert cookie["secure"]
        assert cookie["httponly"]
        assert cookie["path"] == "/"
        assert not cookie["domain"]
        assert cookie["samesite"] == ("Lax" if name == settings.SESSION_COOKIE_NAME else "Strict")


def test_a_foreign_host_is_not_answered(alice: Person) -> None:
    for host in ("mallory.example", "localhost.mallory.example", "localhost:x", "a b"):
        answer = alice.client.get("/sign-in/", headers={"Host": host})
        assert answer.status_code == 400
        assert host not in answer.content.decode()
    forwarded = {"X-Forwarded-Host": "mallory.example"}
    answer = alice.client.get(reverse("accounts:settings"), headers=forwarded)
    assert answer.status_code == 200
    assert "mallory" not in answer.content.decode()


@pytest.mark.parametrize(
    "elsewhere",
    ["https://mallory.example/", "//mallory.example/", "/\\mallory.example", "\\\\mallory.example",
     "///mallory.example", "javascript:alert(1)", "data:text/html,x", "/\t/mallory.example",
     "https:mallory.example", "http:///mallory.example"],
)  # fmt: skip
def test_no_form_leads_to_another_site(alice: Person, elsewhere: str) -> None:
    forms = [
        ("reading:act", {"action": "read", "ids": "1", "next": elsewhere}),
        ("compose:pin", {"address": "a@b.example", "next": elsewhere}),
        ("accounts:lock", {"next": elsewhere}),
        ("accounts:lock_all", {"next": elsewhere}),
    ]
    for name, form in forms:
        answer = post(alice.client, reverse(name), form)
        assert answer.status_code == 303
        assert re.match(r"/(?![/\\])", answer["Location"]), (name, answer["Location"])
        assert "mallory" not in answer["Location"]
    again = alice.client.get(reverse("accounts:sign_in"), {"next": elsewhere})
    assert "mallory" not in again["Location"]
