"""docs/message-states.md knows every state and every failpoint of the send machine."""

from __future__ import annotations

import re
from pathlib import Path

from webmail.compose.decide import ACTIONS
from webmail.compose.models import Copy, Recipient, State

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "message-states.md").read_text(encoding="utf-8")
MACHINE = ("outbox.py", "smtp.py", "drafts.py")


def failpoints_of_the_code() -> set[str]:
    sources = ((ROOT / "webmail" / "compose" / name).read_text("utf-8") for name in MACHINE)
    return {name for source in sources for name in re.findall(r'failpoint\("([a-z_.]+)"\)', source)}


def test_every_state_is_on_the_page() -> None:
    states = {*State.values, *Copy.State.values, *Recipient.State.values}
    assert {state for state in states if f"`{state}`" not in PAGE} == set()


def test_the_page_and_the_code_have_the_same_failpoints() -> None:
    told = set(re.findall(r"`((?:queue|prepare|send|file|finish|draft)\.[a-z_]+)`", PAGE))
    assert len(told) > 20
    assert told == failpoints_of_the_code()


def test_the_page_tells_as_many_acts_as_a_user_has() -> None:
    acts = PAGE.split("What the user may do")[1].split("\n\n")[1].splitlines()[2:]
    assert len(acts) == len(ACTIONS)
