from __future__ import annotations

from collections.abc import Iterator

import pytest

from launcher.dovecot import Dovecot
from tests.accounts.cast import (
    ALICES_PASSWORD,
    BOB,
    BOBS_PASSWORD,
    accept,
    add_person,
    alice,
    browser,
    client_of_alice,
    node,
    plain_static_files,
    running_agents,
)
from tests.support.smtp_sink import Sink, running_sink
from webmail.accounts.models import User
from webmail.agent import door
from webmail.agent.door import KeyHolderSession
from webmail.mailbox import imap

__all__ = ["alice", "client_of_alice", "node", "plain_static_files", "running_agents"]


@pytest.fixture(scope="session")
def running_submission() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@pytest.fixture
def sink(running_submission: Sink) -> Sink:
    running_submission.clear()
    return running_submission


@pytest.fixture
def bob(node: object) -> User:
    """Bob, a colleague with certificates."""
    user = add_person(BOB, "Bob Baker")
    accept(browser(), user, BOBS_PASSWORD)
    user.refresh_from_db()
    return user


@pytest.fixture
def holder(alice: User) -> KeyHolderSession:
    """Alice's keys at hand."""
    return door.unlock(alice.hex, way="password", secret=bytearray(ALICES_PASSWORD.encode()))


@pytest.fixture
def mailbox(alice: User, dovecot: Dovecot, sink: Sink) -> Iterator[User]:
    """Alice with her mail on the real Dovecot and her submission at the sink; both empty."""
    account = alice.mail_account
    account.imap_port = dovecot.imap_port
    account.smtp_host, account.smtp_port, account.smtp_tls = "127.0.0.1", sink.port, "none"
    account.smtp_user = ""
    from tests.support.servers import PASSWORD

    account.set_password(PASSWORD.encode())
    account.save()
    empty(alice)
    yield alice
    imap.close_all()


def empty(user: User) -> None:
    with imap.door(user.mail_account) as opened:
        for folder in opened.list_folders():
            opened.select(folder.name)
            uids = opened.uids()
            if uids:
                opened.store(uids, add=["\\Deleted"])
                opened.expunge(uids)
