"""A mailbox without room, on a real Dovecot with a quota."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from launcher.dovecot import Dovecot
from tests.mailbox.conftest import plain_mail
from tests.support.servers import PASSWORD, running_dovecot
from webmail.accounts.models import MailAccount
from webmail.mailbox import imap
from webmail.mailbox.imap import MailServerError

ADDRESS = "alice@acme.example"
QUOTA = """
protocol imap {
  mail_plugins = quota imap_quota
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:bytes=100
}
"""


@pytest.fixture
def tiny(alice: MailAccount) -> Iterator[MailAccount]:
    """Alice's mail, on a server that gives her a hundred bytes."""
    with running_dovecot(ADDRESS) as server:
        _limit(server)
        alice.imap_port, alice.imap_user = server.imap_port, ADDRESS
        alice.set_password(PASSWORD.encode())
        alice.save()
        yield alice
        imap.close_all()


def _limit(server: Dovecot) -> None:
    configuration = server.folder / "dovecot.conf"
    configuration.write_text(configuration.read_text() + QUOTA)
    server.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)


def test_a_full_mailbox_is_called_full(tiny: MailAccount) -> None:
    with imap.door(tiny) as door:
        with pytest.raises(MailServerError) as caught:
            door.append("Sent", plain_mail())
        assert caught.value.code == "full"
        assert "full" in caught.value.sentence
        assert "empty the trash" in caught.value.sentence
        door.check()  # and the connection goes on
        with pytest.raises(MailServerError) as caught:
            door.append("Nowhere", b"a\r\n")
        assert caught.value.code == "missing_folder"
