from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone

from webmail.accounts import throttle
from webmail.accounts.models import Throttle
from webmail.accounts.throttle import Brake

pytestmark = pytest.mark.django_db

THREE = Brake("test", 3, 60.0)


def test_a_brake_lets_its_capacity_through_and_then_says_how_long_to_wait() -> None:
    assert [throttle.take(THREE, "alice") for _ in range(3)] == [0, 0, 0]
    assert 0 < throttle.take(THREE, "alice") <= 60
    assert throttle.take(THREE, "bob") == 0


def test_time_fills_a_brake_again() -> None:
    for _ in range(4):
        throttle.take(THREE, "alice")
    Throttle.objects.update(updated_at=timezone.now() - timedelta(seconds=61))
    assert throttle.take(THREE, "alice") == 0
    assert throttle.take(THREE, "alice") > 0


def test_a_success_does_not_count() -> None:
    for _ in range(20):
        assert throttle.take(THREE, "alice") == 0
        throttle.give_back(THREE, "alice")


def test_the_table_does_not_tell_what_was_tried() -> None:
    throttle.take(THREE, "alice@acme.example")
    assert "alice" not in str(list(Throttle.objects.values()))


@pytest.mark.django_db(transaction=True)
def test_parallel_tries_share_one_brake() -> None:
    let_through: list[int] = []

    def guess() -> None:
        try:
            let_through.append(throttle.take(THREE, "alice"))
        finally:
            connection.close()

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert let_through.count(0) == 3


def test_old_brakes_are_forgotten() -> None:
    throttle.take(THREE, "alice")
    assert throttle.forget_old() == 0
    Throttle.objects.update(updated_at=timezone.now() - timedelta(days=2))
    assert throttle.forget_old() == 1


@pytest.mark.parametrize(
    ("remote", "forwarded", "counted"),
    [
        ("198.51.100.7", "", "198.51.100.7"),
        ("198.51.100.7", "10.9.9.9", "198.51.100.7"),  # a visitor's own claim counts for nothing
        ("127.0.0.1", "192.0.2.1, 198.51.100.7", "198.51.100.7"),  # behind our proxy
        ("127.0.0.1", "", "127.0.0.1"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", "", "198.51.100.7"),
        ("", "", "None"),
    ],
)
def test_visitors_are_counted_by_the_address_that_reached_us(
    remote: str, forwarded: str, counted: str, settings: object
) -> None:
    import ipaddress

    settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.0/8")]  # type: ignore[attr-defined]
    request = RequestFactory().get("/", REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR=forwarded)
    assert throttle.network_of(request) == counted
