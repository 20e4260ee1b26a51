"""The send machine: one row, one transaction a step, the broker only a doorbell.

``docs/message-states.md`` tells states and guarantees. Every change of state is a conditional
update that names the state it leaves and the claim of the worker that makes it, so that of two
workers one wins, and a worker whose claim lapsed changes nothing. A failpoint stands on each side.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from crypto_agent.protocol import ErrorCode, ProtocolError
from webmail.agent import door
from webmail.authority import timestamp
from webmail.compose import smtp
from webmail.compose.models import MOVING_STATES, Copy, Draft, Outgoing, Recipient, State
from webmail.lib import sealing
from webmail.lib.failpoints import failpoint
from webmail.mailbox import actions, append
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Message, Role

if TYPE_CHECKING:
    from webmail.accounts.models import MailAccount, User

logger = logging.getLogger(__name__)

CLAIM: Final = timedelta(seconds=240)
"""Longer than one block of data may take (180 s); renewed while we wait. A claim that lapsed means
its worker is dead."""

CRASH_LIMIT: Final = 3
"""A mail that kills its worker three times is set aside: it must not loop."""

RING_AGAIN: Final = timedelta(seconds=30)
"""The sweeper does not ring twice in this time for one row."""

LOCKED_AGAIN: Final = timedelta(seconds=10)
"""How soon a mail held by a lock looks again whether its writer is back."""

BACK_OFF_SECONDS: Final = (15, 30, 60, 120, 300, 600, 1800, 3600)
GIVE_UP_AFTER: Final = timedelta(days=2)
"""RFC 5321 §4.5.4.1 says four to five days for relays; a person wants to know earlier."""

PROOF_AGAIN: Final = timedelta(seconds=30)
PROOF_FOR: Final = timedelta(days=3)

_LOCKED_CODES: Final = frozenset(
    {ErrorCode.NOT_UNLOCKED, ErrorCode.AGENT_GONE, ErrorCode.WRONG_SESSION}
)
_TRY_AGAIN_CODES: Final = frozenset(
    {
        ErrorCode.NODE_GONE,
        ErrorCode.TIMEOUT,
        ErrorCode.EXPIRED,
        ErrorCode.REPLAYED,
        ErrorCode.OVERLOADED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.BROKER_GONE,
    }
)


class ClaimLost(Exception):
    """Another worker or the user changed the row; this one stops."""


@dataclass(frozen=True)
class To:
    """One recipient at queueing: ``certificates`` are SHA-256, empty when not encrypted to it."""

    address: str
    kind: str
    certificates: Sequence[str]


# --------------------------------------------------------------------------- queueing


def queue(
    *,
    pk: uuid.UUID,
    user: User,
    draft: Draft | None,
    held: bytes,
    message_id: str,
    envelope_from: str,
    recipients: Iterable[To],
    will_encrypt: bool,
    sealed_summary: bytes,
    due_at: datetime,
    answers: tuple[int, int, str] | None = None,
) -> tuple[Outgoing, bool]:
    """Write the mail down; from now on it is sent, held or shown, and never lost.

    ``pk`` was made with the form: the second press of Send finds the first one's row and changes
    nothing; so does a second page with the same draft. Returns the row and whether it is new.
    Raises ProtocolError (forged) when the id is another user's.
    """
    folder, uid, flag = answers or (None, None, "")
    failpoint("queue.before_commit")
    try:
        with transaction.atomic():
            row = Outgoing.objects.create(
                id=pk,
                user=user,
                draft=draft,
                state=State.QUEUED,
                message_id=message_id,
                envelope_from=envelope_from,
                will_encrypt=will_encrypt,
                sealed_summary=sealed_summary,
                due_at=due_at,
                next_at=due_at,
                held_blob=held,
                answers_folder=folder,
                answers_uid=uid,
                answers_flag=flag,
            )
            Recipient.objects.bulk_create(
                Recipient(
                    outgoing=row,
                    address=each.address,
                    kind=each.kind,
                    certificates=list(each.certificates),
                )
                for each in recipients
            )
            transaction.on_commit(lambda: ring(pk))
    except IntegrityError as error:
        known = Outgoing.objects.filter(user=user).filter(
            Q(pk=pk) | (Q(draft=draft) & Q(draft__isnull=False) & ~Q(state=State.CANCELLED))
        )
        found = known.first()
        if found is None:
            raise ProtocolError(ErrorCode.FORGED, "sending id") from error
        return found, False
    failpoint("queue.after_commit")
    return row, True


def ring(pk: uuid.UUID) -> None:
    """Tell a worker to look at the row. Nothing depends on it: the sweeper rings too."""
    from webmail.compose import tasks

    try:
        tasks.advance.delay(str(pk))
    except Exception:  # whatever the broker's client raises: the row is written down
        logger.warning("the broker was not reached; the sweeper will ring")


def sweep() -> int:
    """Ring for every row that could move and was not rung for lately; returns how many."""
    now = timezone.now()
    free = Q(claim__isnull=True) | Q(claim_until__lt=now)
    silent = Q(rung_at__isnull=True) | Q(rung_at__lt=now - RING_AGAIN) | Q(rung_at__lt=F("next_at"))
    due = Outgoing.objects.filter(free, silent, next_at__lte=now)
    due = due.filter(state__in=[*MOVING_STATES, State.UNKNOWN])
    rung = 0
    for pk, state, held, user_id in due.order_by("next_at").values_list(
        "pk", "state", "held", "user_id"
    )[:500]:
        if state == State.QUEUED and held == "locked" and not door.is_unlocked(user_id.hex):
            Outgoing.objects.filter(pk=pk, state=state).update(next_at=now + LOCKED_AGAIN)
            continue
        Outgoing.objects.filter(pk=pk).update(rung_at=now)
        ring(pk)
        rung += 1
    return rung


# --------------------------------------------------------------------------- moving


def advance(pk: uuid.UUID) -> str:
    """Move the row as far as it goes now; returns the state it stands in ("" when not ours).

    Called as often as you like, by as many workers as you like.
    """
    claim = _claim(pk)
    if claim is None:
        return ""
    try:
        mover = _Mover(pk, claim)
        while mover.step():
            pass
        return mover.row.state
    except ClaimLost:
        logger.info("outgoing %s: another worker took over", pk)
        return ""
    except Exception as error:
        # Not the process died but this mail broke the code: it counts as a crash. The text of the
        # error may hold content, so only its kind is told.
        logger.error("outgoing %s: step failed with %s", pk, type(error).__name__)
        _count_failure(pk, claim)
        return ""


def _claim(pk: uuid.UUID) -> uuid.UUID | None:
    """Become the one worker that moves the row, or None. Counts what the last one left behind."""
    now = timezone.now()
    claim = uuid.uuid4()
    movable = Outgoing.objects.filter(
        pk=pk, state__in=[*MOVING_STATES, State.UNKNOWN], next_at__lte=now
    )
    with transaction.atomic():
        free = movable.filter(claim__isnull=True)
        if free.update(claim=claim, claim_until=now + CLAIM):
            return claim
        lapsed = movable.filter(claim__isnull=False, claim_until__lt=now)
        if not lapsed.update(claim=claim, claim_until=now + CLAIM, crashes=F("crashes") + 1):
            return None
        mine = Outgoing.objects.filter(pk=pk, claim=claim)
        _settle_after_crash(pk)
        poisoned = mine.filter(crashes__gte=CRASH_LIMIT).exclude(state=State.UNKNOWN)
        if poisoned.update(
            state=State.QUARANTINED, held="", problem="crashed", claim=None, claim_until=None
        ):
            return None
    return claim


def _settle_after_crash(pk: uuid.UUID) -> None:
    """What a dead worker left: before the dot nothing was taken, after it nobody knows."""
    waiting_for_word = Copy.objects.filter(outgoing_id=pk, state=Copy.State.DOT)
    positions = list(waiting_for_word.values_list("position", flat=True))
    waiting_for_word.update(state=Copy.State.UNKNOWN)
    Recipient.objects.filter(
        outgoing_id=pk, position__in=positions, state=Recipient.State.WAITING
    ).update(state=Recipient.State.UNKNOWN)
    Copy.objects.filter(outgoing_id=pk, state=Copy.State.SUBMITTING).update(
        state=Copy.State.WAITING
    )


def _count_failure(pk: uuid.UUID, claim: uuid.UUID) -> None:
    now = timezone.now()
    mine = Outgoing.objects.filter(pk=pk, claim=claim)
    with transaction.atomic():
        if not mine.update(crashes=F("crashes") + 1, held="retry", next_at=now + _delay(1)):
            return
        _settle_after_crash(pk)
        mine.filter(crashes__gte=CRASH_LIMIT).update(
            state=State.QUARANTINED, held="", problem="crashed"
        )
        mine.update(claim=None, claim_until=None)


def _delay(attempt: int) -> timedelta:
    return timedelta(seconds=BACK_OFF_SECONDS[min(max(attempt, 1), len(BACK_OFF_SECONDS)) - 1])


class _Mover:
    """One worker's hold on one row. Every write names the claim; losing it raises ClaimLost."""

    def __init__(self, pk: uuid.UUID, claim: uuid.UUID) -> None:
        self.claim = claim
        self.pk = pk
        self.row = self._load()

    def _load(self) -> Outgoing:
        try:
            return Outgoing.objects.select_related("user").get(pk=self.pk, claim=self.claim)
        except ObjectDoesNotExist as error:
            raise ClaimLost from error

    def step(self) -> bool:
        """One change of state; True when another may follow at once."""
        steps: dict[str, Callable[[], bool]] = {
            State.QUEUED: self._prepare,
            State.PREPARED: self._begin,
            State.SUBMITTING: self._submit,
            State.ACCEPTED: self._file,
            State.FILED: self._finish,
            State.UNKNOWN: self._look_for_proof,
        }
        again = steps[self.row.state]()
        if again:
            self.row = self._load()
        return again

    # --- writing

    def _change(self, **columns: Any) -> None:
        """One conditional update; ClaimLost unless the row is as we left it."""
        mine = Outgoing.objects.filter(pk=self.pk, claim=self.claim, state=self.row.state)
        if not mine.update(**columns):
            raise ClaimLost

    def _move(self, state: str, **columns: Any) -> None:
        """To the next state, keeping the claim for the step after it."""
        self._change(
            state=state,
            held="",
            problem=columns.pop("problem", ""),
            crashes=0,
            claim_until=timezone.now() + CLAIM,
            **columns,
        )

    def _leave(self, **columns: Any) -> bool:
        """Give the claim back; the row stands still until ``next_at`` or until somebody acts."""
        self._change(claim=None, claim_until=None, **columns)
        self.row.state = columns.get("state", self.row.state)
        return False

    def _renew(self) -> None:
        self._change(claim_until=timezone.now() + CLAIM)

    def _later(self, code: str, delay: timedelta, *, held: str = "retry", **columns: Any) -> bool:
        return self._leave(held=held, problem=code, next_at=timezone.now() + delay, **columns)

    # --- queued → prepared

    def _prepare(self) -> bool:
        """Sign now, so that Date and signingTime are the time it really leaves; stamp; encrypt."""
        row = self.row
        now = timezone.now()
        if now < row.due_at:
            return self._leave(next_at=row.due_at)
        user = row.user_id.hex
        failpoint("prepare.before_sign")
        try:
            signed = door.release(
                user,
                "release_sign",
                {"held": bytes(row.held_blob or b""), "date": int(time.time() * 1000)},
            )
            failpoint("prepare.after_sign")
            token = timestamp.token_for(bytes(signed["imprint"]))
            made = door.release(user, "release_seal", {"state": signed["state"], "token": token})
        except ProtocolError as error:
            if error.code in _LOCKED_CODES:
                # Held and said so, never sent unsigned; the sweeper looks for the next unlock.
                return self._later("locked", LOCKED_AGAIN, held="locked", crashes=0)
            if error.code in _TRY_AGAIN_CODES:
                return self._later(error.code.value, _delay(2))
            return self._leave(state=State.QUARANTINED, held="", problem=error.code.value)
        copies = list(made["copies"])
        if not self._keeps_the_promise(made, copies):
            return self._leave(state=State.QUARANTINED, held="", problem="promise")
        failpoint("prepare.before_commit")
        with transaction.atomic():
            self._store_copies(copies)
            self._move(
                State.PREPARED,
                held_blob=None,
                sent_sealed=sealing.seal(bytes(made["sent"]), sent_context(self.pk)),
                encrypted=bool(made["encrypted"]),
                timestamped=bool(made["timestamped"]),
                prepared_at=now,
            )
        failpoint("prepare.after_commit")
        return True

    def _keeps_the_promise(self, made: dict[str, Any], copies: list[dict[str, Any]]) -> bool:
        """What leaves is encrypted if that was said, and goes to whom it was said, once each."""
        if self.row.will_encrypt and not made["encrypted"]:
            return False
        wanted = sorted(each.address.lower() for each in self.row.recipients.all())
        return sorted(str(a).lower() for copy in copies for a in copy["recipients"]) == wanted

    def _store_copies(self, copies: list[dict[str, Any]]) -> None:
        Copy.objects.filter(outgoing_id=self.pk).delete()
        for position, each in enumerate(copies):
            mail = smtp.normalise_lines(bytes(each["mail"]))
            Copy.objects.create(
                outgoing_id=self.pk,
                position=position,
                kind=str(each["kind"]),
                sealed=sealing.seal(mail, copy_context(self.pk, position)),
                sha256=hashlib.sha256(mail).hexdigest(),
                size=len(mail),
            )
            for address in each["recipients"]:
                Recipient.objects.filter(outgoing_id=self.pk, address__iexact=str(address)).update(
                    position=position
                )

    # --- prepared → submitting(n) → accepted | rejected | unknown

    def _begin(self) -> bool:
        failpoint("send.before_submitting")
        self._move(State.SUBMITTING, attempt=F("attempt") + 1)
        failpoint("send.after_submitting")
        return True

    def _submit(self) -> bool:
        waiting = list(self.row.copies.filter(state=Copy.State.WAITING).defer("sealed"))
        code = ""
        if waiting:
            try:
                account: MailAccount = self.row.user.mail_account
                with smtp.Submission(account, alive=self._renew) as submission:
                    failpoint("send.after_connect")
                    for copy in waiting:
                        code = self._hand_over(submission, copy) or code
            except ObjectDoesNotExist:
                code = "no_account"
            except smtp.SubmissionError as error:  # the connection is of no more use
                code = error.code
        return self._settle(code)

    def _hand_over(self, submission: smtp.Submission, copy: Copy) -> str:
        """One SMTP transaction, each of its turning points written down before and after.

        Returns the code of what went wrong with this copy alone; raises NotTaken or Unknown, after
        writing it down, when the connection went with it.
        """
        this = Copy.objects.filter(pk=copy.pk)
        people = Recipient.objects.filter(outgoing_id=self.pk, position=copy.position)
        waiting = people.filter(state=Recipient.State.WAITING)
        addresses = list(waiting.values_list("address", flat=True))
        sealed = bytes(this.values_list("sealed", flat=True).get() or b"")
        mail = sealing.unseal(sealed, copy_context(self.pk, copy.position))
        self._renew()
        this.update(state=Copy.State.SUBMITTING)
        failpoint("send.before_mail")

        def before_dot() -> None:
            with transaction.atomic():
                self._renew()
                this.update(state=Copy.State.DOT)

        try:
            taken = submission.submit(
                self.row.envelope_from, addresses, mail, before_dot=before_dot
            )
        except smtp.Refused as error:
            failpoint("send.before_rejected")
            with transaction.atomic():
                self._renew()
                for each in waiting:
                    words = error.refused.get(each.address) or error.reply or error.code
                    people.filter(pk=each.pk).update(
                        state=Recipient.State.REFUSED, reply=words[: smtp.REPLY_LIMIT]
                    )
                self._settle_copy(copy, error.reply or error.code)
            return error.code
        except smtp.NotTaken as error:
            failpoint("send.before_not_taken")
            with transaction.atomic():
                self._renew()
                this.update(state=Copy.State.WAITING, reply=error.reply[: smtp.REPLY_LIMIT])
                waiting.update(reply=error.reply[: smtp.REPLY_LIMIT])
            if error.code in smtp.CONNECTION_CODES:
                raise
            return error.code
        except smtp.Unknown:
            failpoint("send.before_unknown")
            with transaction.atomic():
                self._renew()
                this.update(state=Copy.State.UNKNOWN)
                waiting.update(state=Recipient.State.UNKNOWN)
            raise
        failpoint("send.before_accepted")
        try:
            with transaction.atomic():
                self._renew()
                self._write_down(taken, copy)
        except ClaimLost:
            # Somebody thought us dead and wrote "unknown" meanwhile; we heard the server's word.
            with transaction.atomic():
                if this.filter(state__in=[Copy.State.DOT, Copy.State.UNKNOWN]).exists():
                    self._write_down(taken, copy)
            raise
        failpoint("send.after_accepted")
        return "later" if taken.later else ""

    def _write_down(self, taken: smtp.Taken, copy: Copy) -> None:
        people = Recipient.objects.filter(outgoing_id=self.pk, position=copy.position)
        people.filter(address__in=taken.accepted).update(
            state=Recipient.State.ACCEPTED, reply=taken.reply
        )
        for address, words in taken.refused.items():
            people.filter(address=address).update(state=Recipient.State.REFUSED, reply=words)
        for address, words in taken.later.items():
            people.filter(address=address).update(state=Recipient.State.WAITING, reply=words)
        self._settle_copy(copy, taken.reply)

    def _settle_copy(self, copy: Copy, reply: str) -> None:
        states = set(
            Recipient.objects.filter(outgoing_id=self.pk, position=copy.position).values_list(
                "state", flat=True
            )
        )
        if Recipient.State.WAITING in states:
            state = Copy.State.WAITING
        elif Recipient.State.ACCEPTED in states:
            state = Copy.State.ACCEPTED
        else:
            state = Copy.State.REJECTED
        Copy.objects.filter(pk=copy.pk).update(state=state, reply=reply[: smtp.REPLY_LIMIT])

    def _settle(self, code: str) -> bool:
        """The row's state from those of its copies. Waiting ones come before unknown ones."""
        states = set(self.row.copies.values_list("state", flat=True))
        now = timezone.now()
        if Copy.State.WAITING in states:
            if now - self.row.queued_at > GIVE_UP_AFTER and now - self.row.due_at > GIVE_UP_AFTER:
                with transaction.atomic():
                    self._give_up()
                states = set(self.row.copies.values_list("state", flat=True))
                code = "gave_up"
            else:
                delay = _delay(self.row.attempt)
                return self._later(code or "later", delay, state=State.PREPARED, crashes=0)
        if Copy.State.UNKNOWN in states:
            return self._leave(
                state=State.UNKNOWN, held="", problem="no_reply", next_at=now, crashes=0
            )
        if Copy.State.ACCEPTED not in states:
            return self._leave(state=State.REJECTED, held="", problem=code or "refused", crashes=0)
        failpoint("send.before_row_accepted")
        self._move(State.ACCEPTED, accepted_at=now)
        failpoint("send.after_row_accepted")
        return True

    def _give_up(self) -> None:
        self._renew()
        for copy in self.row.copies.filter(state=Copy.State.WAITING).defer("sealed"):
            Recipient.objects.filter(
                outgoing_id=self.pk, position=copy.position, state=Recipient.State.WAITING
            ).update(state=Recipient.State.REFUSED)
            self._settle_copy(copy, copy.reply)

    # --- unknown → accepted

    def _look_for_proof(self) -> bool:
        """A copy that came back to us, or an answer to it, shows that the server took it."""
        now = timezone.now()
        for copy in self.row.copies.filter(state=Copy.State.UNKNOWN).defer("sealed"):
            if proven(self.row, copy):
                with transaction.atomic():
                    self._renew()
                    Copy.objects.filter(pk=copy.pk).update(state=Copy.State.ACCEPTED)
                    Recipient.objects.filter(
                        outgoing_id=self.pk,
                        position=copy.position,
                        state=Recipient.State.UNKNOWN,
                    ).update(state=Recipient.State.ACCEPTED)
        if self.row.copies.filter(state=Copy.State.UNKNOWN).exists():
            # Later than that it is the user's word that moves it.
            fresh = now - self.row.queued_at < PROOF_FOR
            return self._leave(next_at=now + (PROOF_AGAIN if fresh else timedelta(days=1)))
        self._move(State.ACCEPTED, accepted_at=now)
        return True

    # --- accepted → filed → done

    def _file(self) -> bool:
        """Into Sent, exactly what left, once: looked for by its Message-ID before it is stored."""
        sealed = bytes(self.row.sent_sealed or b"")
        failpoint("file.before_append")
        try:
            mail = sealing.unseal(sealed, sent_context(self.pk))
            account: MailAccount = self.row.user.mail_account
            uid = append.append(account, Role.SENT, mail, ("\\Seen",), date=self.row.prepared_at)
        except ObjectDoesNotExist:
            return self._later("no_account", _delay(8))
        except MailServerError as error:
            return self._later(f"imap_{error.code}"[:40], _delay(4))
        failpoint("file.after_append")
        self._move(State.FILED, sent_uid=uid or None, filed_at=timezone.now())
        failpoint("file.after_commit")
        return True

    def _finish(self) -> bool:
        """The answered mark last, then the draft and every sealed byte that is not needed more."""
        row = self.row
        if row.answers_folder is not None and row.answers_uid is not None:
            answered = Message.objects.filter(
                folder_id=row.answers_folder,
                uid=row.answers_uid,
                folder__account__user_id=row.user_id,
            ).select_related("folder", "folder__account")
            try:
                actions.set_flag(list(answered), row.answers_flag, on=True)
            except MailServerError as error:
                if error.connection_lost:
                    return self._later(f"imap_{error.code}"[:40], _delay(4))
        failpoint("finish.before_commit")
        with transaction.atomic():
            row.copies.update(sealed=None)
            if row.draft_id is not None:
                Draft.objects.filter(pk=row.draft_id).update(
                    closing=True, updated_at=timezone.now()
                )
            self._move(State.DONE, sent_sealed=None)
            Outgoing.objects.filter(pk=self.pk, claim=self.claim).update(
                claim=None, claim_until=None
            )
        failpoint("finish.after_commit")
        self.row.state = State.DONE
        return False


def copy_context(pk: uuid.UUID, position: int) -> bytes:
    """Binds the sealed bytes of a copy to its row."""
    return b"outgoing copy\0" + pk.bytes + position.to_bytes(4, "big")


def sent_context(pk: uuid.UUID) -> bytes:
    """Binds the sealed copy for the Sent folder to its row."""
    return b"outgoing sent\0" + pk.bytes


def proven(row: Outgoing, copy: Copy) -> bool:
    """Whether the mailbox shows that ``copy`` was taken by the server.

    We file our own copy only after acceptance, so the same Message-ID in the mailbox came through
    the server: into the inbox of a recipient who is ourselves, or into Sent by a server that files
    by itself. An answer that names the Message-ID came from somebody who has the mail.
    """
    mine = Message.objects.filter(folder__account__user_id=row.user_id)
    people = {
        each.lower()
        for each in row.recipients.filter(position=copy.position).values_list("address", flat=True)
    }
    own = {each.address.lower() for each in row.user.addresses.all()}
    identifier = row.message_id.strip("<>")  # rows of mails keep it without the brackets
    arrived = mine.filter(message_id=identifier).exclude(folder__role=Role.DRAFTS)
    if people & own and arrived.exclude(folder__role=Role.SENT).exists():
        return True
    if copy.kind == "main" and arrived.filter(folder__role=Role.SENT).exists():
        return True
    answers = mine.filter(in_reply_to=identifier).values_list("from_address", flat=True)
    return any(address.lower() in people for address in answers)
