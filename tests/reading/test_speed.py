"""A click answers fast: pages cost a few exchanges, whatever the mail holds."""

from __future__ import annotations

import time
from collections.abc import Callable

from launcher.foreign import Correspondent, smime
from tests.reading.conftest import Person, letter
from tests.reading.test_pages import alice_list, page, url


def fastest(act: Callable[[], object], *, times: int = 5) -> float:
    best = 9.0
    for _time in range(times):
        started = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - started)
    return best


def test_sealed_mail_opens_and_lists_within_a_blink(alice: Person, bob: Correspondent) -> None:
    rows = [
        alice.receive(
            smime(
                letter(alice.address, number=number, text=f"Letter {number}"),
                signer=bob,
                recipients=[alice.encryption_certificate],
            )
        )
        for number in range(5)
    ]
    for row in rows:
        page(alice.client, url("message", row))
    listed = fastest(lambda: page(alice.client, alice_list(alice)))
    opened = fastest(lambda: page(alice.client, url("message", rows[0])))
    fragment = fastest(
        lambda: page(alice.client, url("message", rows[0]), **{"HX-Request": "true"})
    )
    print(
        f"list {listed * 1000:.0f} ms, page {opened * 1000:.0f} ms, part {fragment * 1000:.0f} ms"
    )
    assert listed < 0.3
    assert opened < 0.5
    assert fragment < 0.4
