"""A click answers fast: pages cost a few exchanges, whatever the mail holds."""

from __future__ import annotations

from typing import Any, Final

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from crypto_agent.protocol import Envelope
from launcher.foreign import Correspondent, smime
from tests.reading.conftest import Person, letter
from tests.reading.test_pages import page, url
from webmail.agent import door, exchange

QUERIES_OF_A_CLICK: Final = 20
"""Each costs a third of a millisecond, most of it in building the statement."""


def test_opening_a_sealed_mail_again_asks_its_agent_once_and_reads_little(
    alice: Person, bob: Correspondent, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counting(node: str, envelope: Envelope, **options: Any) -> dict[str, Any] | bytes:
        asked.append(envelope.op)
        return exchange.ask_agent(node, envelope, **options)

    monkeypatch.setattr(door, "ask_agent", counting)
    row = alice.receive(
        smime(letter(alice.address), signer=bob, recipients=[alice.encryption_certificate])
    )
    click = {"HX-Request": "true"}
    page(alice.client, url("message", row), **click)
    assert set(asked) == {"open", "judge_certificate", "seal_fields"}
    asked.clear()
    with CaptureQueriesContext(connection) as queries:
        page(alice.client, url("message", row), **click)
    assert asked == ["open"]
    assert len(queries) <= QUERIES_OF_A_CLICK, [query["sql"] for query in queries.captured_queries]
