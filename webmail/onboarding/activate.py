"""From an accepted invitation to a person with keys and certificates: all of it, or none.

Steps, and what a crash after each leaves behind:

1. the invitation is claimed: the claim lapses after two minutes;
2. the agent makes the vault with two keys, the row is written: swept at the next attempt;
3. the authority certifies both keys, rows are written: revoked at the next attempt;
4. the agent installs the certificates into the vault;
5. one transaction: certificates remembered, invitation used, person activated.

Only step 5 makes anything visible. Until then nobody can sign in as this person, write to them
under these certificates, or see that they were made.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import partial

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from crypto_agent.protocol import ProtocolError
from webmail.accounts import invitations
from webmail.accounts.models import Invitation, User
from webmail.agent import door
from webmail.agent.door import KeyHolderSession
from webmail.agent.models import Vault
from webmail.authority import revoke
from webmail.authority.issue import issue_for
from webmail.authority.models import IssuedCertificate, RevocationReason
from webmail.certificates import own
from webmail.lib.failpoints import failpoint
from webmail.onboarding.tasks import deliver_tour


class Taken(Exception):
    """Another tab or browser is at this invitation, or has used it."""


@dataclass(frozen=True)
class Activated:
    """The unlocked session, and the recovery code that nobody can read again."""

    holder: KeyHolderSession
    recovery_code: str = field(repr=False)


def accept(invitation: Invitation, password: bytearray) -> Activated:
    """Raises :class:`Taken`, or ProtocolError when a step failed; the link then works again."""
    attempt = invitations.claim(invitation)
    if attempt is None:
        raise Taken
    user = invitation.user
    try:
        sweep_remains(user)
        return _activate(user, attempt, password)
    except BaseException:
        _undo(user, attempt)
        raise


def _activate(user: User, attempt: uuid.UUID, password: bytearray) -> Activated:
    failpoint("onboarding.before_vault")
    holder, made = door.create_vault(
        user.hex,
        {
            "password": password,
            "addresses": [row.address for row in user.addresses.all()],
            "key_algorithm": settings.KEY_ALGORITHM,
        },
    )
    failpoint("onboarding.after_vault")
    issued = issue_for(user, made["requests"])
    failpoint("onboarding.after_issue")
    door.call(
        holder, "install", {"certificates": [{"der": der, "chain": chain} for der, chain in issued]}
    )
    failpoint("onboarding.after_install")
    with transaction.atomic():
        if not invitations.consume(attempt):
            raise Taken
        own.remember(user, issued)
        user.activated_at = timezone.now()
        # An administrator who gets a mailbox signs in with the vault from now on.
        user.set_unusable_password()
        user.save(update_fields=["activated_at", "password", "time_zone"])
        # A broker that is down must not undo an activation: the tour is a courtesy.
        transaction.on_commit(partial(deliver_tour.delay, user.hex), robust=True)
    failpoint("onboarding.after_commit")
    return Activated(holder, str(made["recovery_code"]))


def sweep_remains(user: User) -> None:
    """What an attempt left that died half-way. Does nothing to a person who is activated."""
    fresh = User.objects.filter(pk=user.pk, activated_at=None).exists()
    if not fresh:
        raise Taken
    revoke.revoke(
        IssuedCertificate.objects.filter(user=user, status=IssuedCertificate.Status.VALID),
        RevocationReason.SUPERSEDED,
    )
    door.lock(user.hex)
    Vault.objects.filter(user=user).delete()


def _undo(user: User, attempt: uuid.UUID) -> None:
    """Take back what this attempt made, unless its claim has passed to another one."""
    if not Invitation.objects.filter(claim=attempt, used_at=None).exists():
        return
    try:
        sweep_remains(user)
    except (ProtocolError, Taken):
        # The next attempt sweeps again before it begins.
        pass
    finally:
        invitations.release(attempt)
