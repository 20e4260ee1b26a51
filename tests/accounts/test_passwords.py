from __future__ import annotations

import pytest

from webmail.accounts.models import User
from webmail.accounts.passwords import check_new_password, names_of
from webmail.accounts.sign_in import Refused

ALICE = User(username="alice.adams@acme.example", display_name="Alice Adams")


def judge(password: str, again: str | None = None) -> str:
    try:
        twice = password if again is None else again
        check_new_password(bytearray(password.encode()), bytearray(twice.encode()), names_of(ALICE))
    except Refused as refused:
        return refused.code
    return "good"


@pytest.mark.parametrize(
    ("password", "verdict"),
    [
        ("four calm words of alice", "good"),
        ("ключ к моей почте", "good"),
        ("密码是很长的一句话而已啊", "good"),
        ("elevenchars", "short"),
        ("密码是很长的一句话而已", "short"),  # eleven characters in 33 octets
        ("x" * 1025, "long"),
        ("aaaaaaaaaaaaaaaa", "common"),
        ("ababababababab", "common"),
        ("qazwsxedcrfv", "common"),  # in the list of common passwords
        ("QazWsxEdcRfv", "common"),
        ("alice.adams@acme.example", "common"),
        ("Alice Adams!!", "common"),
    ],
)
def test_new_passwords_are_judged(password: str, verdict: str) -> None:
    assert judge(password) == verdict


def test_two_different_entries_are_refused_first() -> None:
    assert judge("four calm words of alice", "four calm words of alicf") == "differ"
