"""A process with its own database in which the send machine is run and killed.

It reads one JSON command a line from stdin and answers with one line. ``advance`` forks: the child
moves one mail with the failpoints it is told, and may die at any of them; the database stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import uuid
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from tests.support.servers import PASSWORD  # noqa: E402
from webmail.accounts.models import Address, MailAccount, User  # noqa: E402
from webmail.compose import decide, outbox  # noqa: E402
from webmail.compose.models import Copy, Outgoing, Recipient, State  # noqa: E402
from webmail.lib import failpoints, sealing  # noqa: E402
from webmail.mailbox import imap, sync  # noqa: E402
from webmail.mailbox.models import Folder  # noqa: E402

ALICE = "alice@acme.example"


def setup(imap_port: int, smtp_port: int) -> None:
    call_command("migrate", verbosity=0)
    user = User.objects.create_user(ALICE, display_name="Alice")
    Address.objects.create(user=user, address=ALICE, primary=True)
    account = MailAccount(user=user)
    place(account, imap_port, smtp_port)


def place(account: MailAccount, imap_port: int, smtp_port: int) -> None:
    account.imap_host = account.smtp_host = "127.0.0.1"
    account.imap_port, account.smtp_port = imap_port, smtp_port
    account.imap_tls = account.smtp_tls = "none"
    account.imap_user, account.smtp_user = ALICE, ""
    account.set_password(PASSWORD.encode())
    account.save()


def setup_agents(imap_port: int, smtp_port: int, descriptor: dict[str, Any], spool: str) -> None:
    """A person with a vault on a running agent node, unlocked."""
    from pathlib import Path

    from django.conf import settings
    from django.test.utils import setup_test_environment

    from tests.accounts.cast import ALICES_PASSWORD, accept, add_person, browser
    from tests.support.agent_node import use_broker
    from webmail.agent import nodes
    from webmail.authority.setup import set_up

    call_command("migrate", verbosity=0)
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    setup_test_environment()
    use_broker(os.environ["SEALPOST_BROKER"], Path(spool))
    nodes.remember(descriptor)
    set_up()
    user = add_person(ALICE, "Alice Adams")
    accept(browser(), user, ALICES_PASSWORD)
    user.refresh_from_db()
    place(user.mail_account, imap_port, smtp_port)


def queued() -> str:
    """A mail to oneself, held by the agent, due now."""
    from tests.accounts.cast import ALICES_PASSWORD
    from webmail.agent import door
    from webmail.compose import drafts, protection

    user = User.objects.get(username=ALICE)
    holder = door.unlock(user.hex, way="password", secret=bytearray(ALICES_PASSWORD.encode()))
    content = drafts.Content(
        sender=drafts.Mailbox("Alice", ALICE),
        to=(drafts.Mailbox("", ALICE),),
        subject="The plan",
        text="Only for us.\n",
    )
    [(state, kind, _name)] = protection.look(user, content, "encrypt").people
    pk = uuid.uuid4()
    message_id = f"<{pk.hex}@acme.example>"
    held = door.call(
        holder,
        "hold",
        {
            "draft": drafts.to_wire(content, []),
            "recipients": [
                {
                    "address": ALICE,
                    "kind": kind,
                    "certificates": state["certificates"],
                    "capabilities": None,
                }
            ],
            "encrypt": True,
            "from": content.sender.to_wire(),
            "message_id": message_id,
        },
    )["held"]
    outbox.queue(
        pk=pk,
        user=user,
        draft=None,
        held=bytes(held),
        message_id=message_id,
        envelope_from=ALICE,
        recipients=[outbox.To(ALICE, kind, state["fingerprints"])],
        will_encrypt=True,
        sealed_summary=b"",
        due_at=timezone.now(),
    )
    return str(pk)


def prepared(copies: list[list[str]]) -> str:
    """A mail signed and sealed: from here on no key is needed. The first copy is the main one."""
    pk = uuid.uuid4()
    now = timezone.now()
    message_id = f"<{pk.hex}@acme.example>"
    mail = (
        f"Message-ID: {message_id}\r\nFrom: {ALICE}\r\nSubject: [...]\r\n\r\n"
        "sealed\r\n.\r\n..dots\r\n"
    ).encode()
    with transaction.atomic():
        row = Outgoing.objects.create(
            id=pk,
            user=User.objects.get(username=ALICE),
            state=State.PREPARED,
            message_id=message_id,
            envelope_from=ALICE,
            due_at=now,
            next_at=now,
            prepared_at=now,
            encrypted=True,
            sent_sealed=sealing.seal(mail, outbox.sent_context(pk)),
        )
        for position, addresses in enumerate(copies):
            Copy.objects.create(
                outgoing=row,
                position=position,
                kind="bcc" if position else "main",
                sealed=sealing.seal(mail, outbox.copy_context(pk, position)),
                sha256="",
                size=len(mail),
            )
            for address in addresses:
                Recipient.objects.create(
                    outgoing=row,
                    position=position,
                    address=address,
                    kind="bcc" if position else "to",
                )
    return str(pk)


def advance(pk: str, armed: str = "") -> int:
    """The exit code of a child that moves the mail."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            failpoints._armed = failpoints.parse(armed)
            if "SEALPOST_BROKER" in os.environ:
                from django.conf import settings

                from tests.support.agent_node import use_broker

                use_broker(os.environ["SEALPOST_BROKER"], settings.SPOOL_DIR)
            outbox.advance(uuid.UUID(pk))
            imap.close_all()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start(pk: str, armed: str = "") -> int:
    """Begin to move the mail in a child, and return its process id at once."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            failpoints._armed = failpoints.parse(armed)
            outbox.advance(uuid.UUID(pk))
        finally:
            os._exit(0)
    return child


def kill(child: int) -> None:
    os.kill(child, 9)
    os.waitpid(child, 0)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def lapse(pk: str) -> None:
    """As if the time that claims and pauses last had passed."""
    past = timezone.now() - timedelta(minutes=1)
    rows = Outgoing.objects.filter(pk=pk)
    rows.filter(claim__isnull=False).update(claim_until=past)
    rows.update(next_at=past)


def show(pk: str) -> dict[str, Any]:
    row = Outgoing.objects.get(pk=pk)
    return {
        "state": row.state,
        "held": row.held,
        "problem": row.problem,
        "attempt": row.attempt,
        "crashes": row.crashes,
        "claimed": row.claim is not None,
        "copies": list(row.copies.values_list("state", flat=True)),
        "digests": list(row.copies.values_list("sha256", flat=True)),
        "people": {each.address: [each.state, each.reply] for each in row.recipients.all()},
        "sealed_left": row.copies.filter(sealed__isnull=False).count()
        + bool(row.sent_sealed)
        + bool(row.held_blob),
        "timestamped": row.timestamped,
        "message_id": row.message_id,
    }


def act(pk: str, name: str) -> bool:
    return decide.ACTIONS[name](User.objects.get(username=ALICE), uuid.UUID(pk))


def in_folder(role: str, message_id: str) -> int:
    """How many mails of that Message-ID the server holds in the folder."""
    account = User.objects.get(username=ALICE).mail_account
    folder = sync.folder_of(account, role)
    with imap.door(account) as opened:
        opened.select(folder.name)
        return len(opened.uids_of_message_id(message_id.strip("<>")))


def sync_inbox() -> None:
    account = User.objects.get(username=ALICE).mail_account
    sync.sync_folders(account)
    sync.sync_folder(Folder.objects.get(account=account, role="inbox"))


def serve() -> None:
    commands = {
        each.__name__: each
        for each in (
            *(setup, setup_agents, queued, prepared, advance, start, kill, wait),
            *(lapse, show, act, in_folder, sync_inbox),
        )
    }
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"ok": commands[name](**arguments)}
        except Exception as error:
            import traceback

            answer = {"error": f"{type(error).__name__}: {error}\n{traceback.format_exc()}"}
        answers.write(json.dumps(answer, default=str) + "\n")
        answers.flush()
    with contextlib.suppress(Exception):
        imap.close_all()
    time.sleep(0)


if __name__ == "__main__":
    serve()
