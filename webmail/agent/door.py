"""The only door from the web to the processes that hold keys.

Everything here may be called from many threads. Each function raises
:class:`crypto_agent.protocol.ProtocolError`; :func:`webmail.agent.sentences.explain` has the words
for its code. Every use of a key is in the audit, committed, before its result is returned; hence
none of these may be called inside a database transaction.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from crypto_agent.protocol import (
    SESSION_SECRET_BYTES,
    AgentDescriptor,
    ErrorCode,
    NodeDescriptor,
    ProtocolError,
    caller_key,
    control_key,
    make_control,
    make_request,
    open_reply,
    read_control,
)
from webmail.agent import audit, nodes
from webmail.agent.exchange import ask_agent, new_task_id, now_ms
from webmail.agent.exchange import meanwhile as meanwhile
from webmail.agent.models import KeySession, Lease, Node, Vault

USED_EVERY: Final = timedelta(seconds=10)
"""How exact ``used_at`` is: a write per request would be one too many."""

_RESUMABLE: Final = frozenset(
    {ErrorCode.AGENT_GONE, ErrorCode.NODE_GONE, ErrorCode.NOT_UNLOCKED, ErrorCode.TIMEOUT}
)
"""After these the session may be opened again, once, without asking."""
_NODE_AGAIN: Final = frozenset({ErrorCode.NODE_GONE})
_CONTROL_TIMEOUT_S: Final = 10.0
_OPENER_TIMEOUT_S: Final = 30.0

_background: ContextVar[bool] = ContextVar("background", default=False)


@dataclass(frozen=True)
class KeyHolderSession:
    """Who may use a user's keys: an unlocked session, with the secret C from the cookie."""

    user: str
    """User id, hex."""
    session: str
    """Session id, hex."""
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class LockState:
    """Seconds until the session locks by itself."""

    idle_left_s: int
    absolute_left_s: int


@cache
def _caller_of(deployment_secret: bytes) -> Ed25519PrivateKey:
    return caller_key(deployment_secret)


def _caller() -> Ed25519PrivateKey:
    return _caller_of(settings.DEPLOYMENT_SECRET)


@contextmanager
def background(is_background: bool = True) -> Iterator[None]:
    """Calls inside are made by a page that polls: they do not keep the user unlocked."""
    token = _background.set(is_background)
    try:
        yield
    finally:
        _background.reset(token)


# --------------------------------------------------------------------------- sealed exchange


def _exchange(
    *,
    op: str,
    user: str,
    session: str,
    node: str,
    to: str,
    recipient: bytes,
    payload: dict[str, Any],
    session_secret: bytes | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    envelope, reply_key = make_request(
        op=op,
        user=user,
        session=session,
        task=new_task_id(),
        to=to,
        recipient=recipient,
        payload=payload,
        caller=_caller(),
        now=now_ms(),
        session_secret=session_secret,
        background=_background.get(),
    )
    sealed = ask_agent(node, envelope, **({} if timeout is None else {"timeout": timeout}))
    if not isinstance(sealed, bytes):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "answer")
    return open_reply(envelope, reply_key, sealed)


def _open_with_node(
    op: str, user: str, session: str, payload: dict[str, Any]
) -> tuple[NodeDescriptor, dict[str, Any]]:
    """Ask a node to open a vault; once more when its key is an older start's or it is gone."""
    descriptor = nodes.node_for(user)
    for attempt in range(2):
        try:
            result = _exchange(
                op=op,
                user=user,
                session=session,
                node=descriptor.node,
                to=descriptor.start,
                recipient=descriptor.public,
                payload=payload,
                timeout=_OPENER_TIMEOUT_S,
            )
        except ProtocolError as error:
            if attempt or error.code not in _NODE_AGAIN:
                raise
            try:
                descriptor = nodes.refresh(descriptor.node)
            except ProtocolError:
                descriptor = nodes.node_for(user, avoid=descriptor.node)
        else:
            return descriptor, result
    raise ProtocolError(ErrorCode.NODE_GONE)


def _uses(result: dict[str, Any]) -> list[audit.Use]:
    return [
        audit.Use(operation=str(use["operation"]), key=str(use["key"]), digest=str(use["digest"]))
        for use in result.get("uses", [])
    ]


# --------------------------------------------------------------------------- opening


def _keep_session(
    user: str, session: str, secret: bytes, node: str, result: dict[str, Any]
) -> KeyHolderSession:
    now = timezone.now()
    descriptor = AgentDescriptor.from_bytes(result["descriptor"])
    descriptor.check(secret)
    KeySession.objects.create(
        id=uuid.UUID(session),
        user_id=user,
        resume_blob=result["resume"],
        descriptor=result["descriptor"],
        node=node,
        used_at=now,
        expires_at=now + timedelta(seconds=settings.SESSION_ABSOLUTE_SECONDS),
    )
    nodes.grant(user, node)
    return KeyHolderSession(user=user, session=session, secret=secret)


def create_vault(user: str, payload: dict[str, Any]) -> tuple[KeyHolderSession, dict[str, Any]]:
    """Make a user's vault and unlock it.

    ``payload`` is ``{password: bytearray, addresses: [str], key_algorithm: str}``; the result is
    ``{recovery_code: str, requests: [{purpose, csr: der}]}``. Raises ProtocolError (bad_request)
    when the user has a vault: another would make all mail so far unreadable.
    """
    if Vault.objects.filter(user_id=user).exists():
        raise ProtocolError(ErrorCode.BAD_REQUEST, "this user has a vault")
    session, secret = uuid.uuid4().hex, secrets.token_bytes(SESSION_SECRET_BYTES)
    node, result = _open_with_node(
        "create",
        user,
        session,
        {
            "password": payload["password"],
            "addresses": payload["addresses"],
            "key_algorithm": payload["key_algorithm"],
            "session_secret": secret,
        },
    )
    Vault.objects.create(user_id=user, record=result["record"])
    audit.record(user, session, _uses(result))
    holder = _keep_session(user, session, secret, node.node, result)
    return holder, {
        "recovery_code": result["recovery_code"].decode("ascii"),
        "requests": result["requests"],
    }


def _record_of(user: str) -> bytes | None:
    """The vault as stored. None for nobody's id: the agent spends the same time and refuses."""
    row = Vault.objects.filter(user_id=user).values_list("record", flat=True).first()
    return None if row is None else bytes(row)


def unlock(user: str, *, way: str, secret: bytearray) -> KeyHolderSession:
    """Open a vault by ``way`` ("password" or "recovery") and begin a session.

    Raises ProtocolError: wrong_password, rate_limited, node_gone, broker_gone, ...
    """
    record = _record_of(user)
    session, session_secret = uuid.uuid4().hex, secrets.token_bytes(SESSION_SECRET_BYTES)
    payload = {"record": record, "way": way, "secret": secret, "session_secret": session_secret}
    try:
        node, result = _open_with_node("unlock", user, session, payload)
    except ProtocolError as error:
        if record is not None and error.code in (
            ErrorCode.WRONG_PASSWORD,
            ErrorCode.RATE_LIMITED,
        ):
            audit.record(user, "", [audit.Use(f"unlock.{way}", outcome=error.code.value)])
        raise
    audit.record(user, session, [audit.Use(f"unlock.{way}")])
    return _keep_session(user, session, session_secret, node.node, result)


def change_password(
    user: str, *, way: str, secret: bytearray, new_password: bytearray, new_recovery: bool
) -> dict[str, Any]:
    """Set a new password, and on wish a new recovery code: ``{"recovery_code"?: str}``.

    Sessions go on; :func:`lock` ends them. Raises ProtocolError: wrong_password, rate_limited, ...
    """
    record = _record_of(user)
    payload = {
        "record": record,
        "way": way,
        "secret": secret,
        "new_password": new_password,
        "new_recovery": new_recovery,
    }
    try:
        _, result = _open_with_node("rewrap", user, "", payload)
    except ProtocolError as error:
        if record is not None and error.code is ErrorCode.WRONG_PASSWORD:
            audit.record(user, "", [audit.Use("change_password", outcome=error.code.value)])
        raise
    _replace_record(user, record, result["record"])
    audit.record(user, "", [audit.Use("change_password")])
    code = result.get("recovery_code")
    return {} if code is None else {"recovery_code": code.decode("ascii")}


def _replace_record(user: str, old: bytes | None, new: bytes) -> None:
    """Raises ProtocolError (overloaded) when somebody else changed the vault meanwhile."""
    changed = Vault.objects.filter(user_id=user, record=old).update(
        record=new, changed_at=timezone.now()
    )
    if not changed:
        raise ProtocolError(ErrorCode.OVERLOADED, "the vault changed meanwhile")


# --------------------------------------------------------------------------- using


def _live(holder: KeyHolderSession) -> KeySession:
    """The session's row, if its time is not over. Raises ProtocolError (not_unlocked)."""
    try:
        pk = uuid.UUID(holder.session)
    except ValueError as error:
        raise ProtocolError(ErrorCode.NOT_UNLOCKED) from error
    try:
        # By primary key alone, judged here: half the time of a query with all conditions.
        row = KeySession.objects.get(pk=pk)
    except KeySession.DoesNotExist as error:
        raise ProtocolError(ErrorCode.NOT_UNLOCKED) from error
    if row.user_id.hex != holder.user or not _is_living(row):
        raise ProtocolError(ErrorCode.NOT_UNLOCKED)
    return row


def _is_living(row: KeySession) -> bool:
    now = timezone.now()
    idle = timedelta(seconds=settings.SESSION_IDLE_SECONDS)
    return bool(row.used_at > now - idle and row.expires_at > now)


def _living(now: datetime | None = None) -> Q:
    now = now or timezone.now()
    idle = timedelta(seconds=settings.SESSION_IDLE_SECONDS)
    return Q(used_at__gt=now - idle, expires_at__gt=now)


def _touch(row: KeySession) -> None:
    now = timezone.now()
    if now - row.used_at > USED_EVERY:
        KeySession.objects.filter(pk=row.pk).update(used_at=now)


def _resume(row: KeySession, holder: KeyHolderSession) -> None:
    """Open the vault again for a session that lives; ``row`` then says where its agent is."""
    record = _record_of(holder.user)
    try:
        node, result = _open_with_node(
            "resume",
            holder.user,
            holder.session,
            {
                "record": record,
                "resume": bytes(row.resume_blob),
                "session_secret": holder.secret,
            },
        )
    except ProtocolError as error:
        if error.code in (ErrorCode.EXPIRED, ErrorCode.WRONG_SESSION):
            raise ProtocolError(ErrorCode.NOT_UNLOCKED) from error
        raise
    audit.record(holder.user, holder.session, [audit.Use("resume")])
    row.descriptor = result["descriptor"]
    row.node = node.node
    changed = KeySession.objects.filter(pk=row.pk).update(descriptor=row.descriptor, node=row.node)
    if not changed:  # locked meanwhile: the agent that just started must not stay
        lock(holder.user)
        raise ProtocolError(ErrorCode.NOT_UNLOCKED)
    nodes.grant(holder.user, node.node)


def call(holder: KeyHolderSession, op: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Do ``op`` with the user's keys. When the agent is gone while the session lives, it is
    started again, once, without asking."""
    row = _live(holder)
    if not _background.get():
        _touch(row)
    old_record: bytes | None = None
    if op == "install":
        old_record = _record_of(holder.user)
        payload = {**payload, "record": old_record}
    result = _call_or_resume(row, holder, op, payload)
    if op == "install":
        _replace_record(holder.user, old_record, result["record"])
    audit.record(holder.user, holder.session, _uses(result))
    return result


def _call_or_resume(
    row: KeySession, holder: KeyHolderSession, op: str, payload: dict[str, Any]
) -> dict[str, Any]:
    try:
        return _call_once(row, holder, op, payload)
    except ProtocolError as error:
        if error.code not in _RESUMABLE:
            raise
    row = _live(holder)  # locked meanwhile? then this raises
    _resume(row, holder)
    return _call_once(row, holder, op, payload)


def _call_once(
    row: KeySession, holder: KeyHolderSession, op: str, payload: dict[str, Any]
) -> dict[str, Any]:
    descriptor = AgentDescriptor.from_bytes(bytes(row.descriptor))
    descriptor.check(holder.secret)
    if descriptor.user != holder.user or descriptor.session != holder.session:
        raise ProtocolError(ErrorCode.FORGED, "agent descriptor")
    return _exchange(
        op=op,
        user=holder.user,
        session=holder.session,
        node=descriptor.node,
        to=descriptor.agent,
        recipient=descriptor.public,
        payload=payload,
        session_secret=holder.secret,
    )


def release(user: str, op: str, payload: dict[str, Any]) -> dict[str, Any]:
    """``release_sign`` or ``release_seal`` for the worker, which has no session secret: they act
    only on what the user's own vault sealed. Raises ProtocolError (not_unlocked) when locked."""
    row = KeySession.objects.filter(_living(), user_id=user).order_by("-used_at").first()
    if row is None:
        raise ProtocolError(ErrorCode.NOT_UNLOCKED)
    descriptor = AgentDescriptor.from_bytes(bytes(row.descriptor))
    try:
        result = _exchange(
            op=op,
            user=user,
            session="",
            node=descriptor.node,
            to=descriptor.agent,
            recipient=descriptor.public,
            payload=payload,
        )
    except ProtocolError as error:
        if error.code in (ErrorCode.AGENT_GONE, ErrorCode.NODE_GONE):
            # The session lives and its next request starts the agent again; until then: locked.
            raise ProtocolError(ErrorCode.NOT_UNLOCKED) from error
        raise
    audit.record(user, "", _uses(result))
    return result


def service(name: str, op: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Ask a service agent: ``verifier``, ``authority``, ``timestamp`` or ``postmaster``."""
    descriptor = nodes.any_node()
    user = f"service:{name}"
    for attempt in range(2):
        try:
            result = _exchange(
                op=op,
                user=user,
                session="",
                node=descriptor.node,
                to=descriptor.start,
                recipient=descriptor.service(name),
                payload=payload,
            )
        except ProtocolError as error:
            if attempt or error.code not in _NODE_AGAIN:
                raise
            descriptor = nodes.refresh(descriptor.node)
        else:
            audit.record(user, "", _uses(result))
            return result
    raise ProtocolError(ErrorCode.NODE_GONE)


# --------------------------------------------------------------------------- locking


def _control(node: NodeDescriptor, op: str, user: str, session: str) -> dict[str, Any]:
    envelope = make_control(
        op=op,
        user=user,
        session=session,
        task=new_task_id(),
        to=node.start,
        caller=_caller(),
        now=now_ms(),
    )
    answer = ask_agent(node.node, envelope, timeout=_CONTROL_TIMEOUT_S)
    if not isinstance(answer, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "answer")
    return read_control(envelope, control_key(settings.DEPLOYMENT_SECRET), answer)


def lock(user: str, *, session: str | None = None) -> None:
    """End a session (all of them when None): delete its blob, then kill the user's agent.

    Sessions that were not named go on; their next request starts the agent again. Does not raise
    when a node does not answer: without the blob nothing resumes, and an agent that runs still
    ends by its idle time; it answers nobody whose session is gone.
    """
    rows = KeySession.objects.filter(user_id=user)
    if session is not None:
        try:
            rows = rows.filter(pk=uuid.UUID(session))
        except ValueError:
            return
    names = set(rows.values_list("node", flat=True))
    names |= set(Lease.objects.filter(user_id=user).values_list("node", flat=True))
    ended, _ = rows.delete()
    for name in names:
        _lock_on(name, user, session or "")
    if session is None:
        Lease.objects.filter(user_id=user).delete()
    if ended:
        audit.record(user, session or "", [audit.Use("lock")])


def _lock_on(name: str, user: str, session: str) -> None:
    node = Node.objects.filter(name=name).first()
    if node is None:
        return
    try:
        _control(nodes.describe(node), "lock", user, session)
    except ProtocolError as error:
        if error.code is not ErrorCode.NODE_GONE:
            return
        try:
            _control(nodes.refresh(name), "lock", user, session)
        except ProtocolError:
            return


def is_unlocked(user: str) -> bool:
    """Does the user have a living session? Reads rows only."""
    return KeySession.objects.filter(_living(), user_id=user).exists()


def is_session_unlocked(session: str) -> bool:
    """Is this very session alive? Reads rows only."""
    try:
        return KeySession.objects.filter(_living(), pk=uuid.UUID(session)).exists()
    except ValueError:
        return False


def lock_state(holder: KeyHolderSession, *, touch: bool = False) -> LockState | None:
    """Time left, or None when the session is over. ``touch``: the person just did something."""
    try:
        row = _live(holder)
    except ProtocolError:
        return None
    now = timezone.now()
    if touch:
        _touch(row)
        row.used_at = now
    idle_end = row.used_at + timedelta(seconds=settings.SESSION_IDLE_SECONDS)
    return LockState(
        idle_left_s=int((idle_end - now).total_seconds()),
        absolute_left_s=int((row.expires_at - now).total_seconds()),
    )


# --------------------------------------------------------------------------- nodes


def status_of(node: Node) -> dict[str, Any]:
    """The supervisor's own words: agents, services, hardening. Raises ProtocolError."""
    return _control(nodes.describe(node), "status", "", "")
