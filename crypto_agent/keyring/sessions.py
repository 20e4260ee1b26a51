"""The sessions of one agent: who may ask, since when, until when."""

from __future__ import annotations

from dataclasses import dataclass, field

from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.protocol import Envelope


@dataclass
class Session:
    """One browser that unlocked."""

    id: str
    request_key: bytes = field(repr=False)
    """``derive(C, "request")``: proves requests; C itself is not kept."""
    expires: int
    """Absolute end, milliseconds since the epoch."""
    used: int
    """Last activity of the user, milliseconds since the epoch."""


class Sessions:
    """All sessions of this agent. When none is left, the agent ends."""

    def __init__(self, *, idle_ms: int) -> None:
        self._idle_ms = idle_ms
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        self._sessions[session.id] = session

    def _end(self, session: Session) -> int:
        return min(session.expires, session.used + self._idle_ms)

    def expire(self, *, now: int) -> None:
        """Forget the sessions whose idle or absolute time is over."""
        for session in list(self._sessions.values()):
            if now >= self._end(session):
                del self._sessions[session.id]

    def next_end(self) -> int | None:
        """When the next session ends, milliseconds since the epoch."""
        return min((self._end(session) for session in self._sessions.values()), default=None)

    def check(self, envelope: Envelope, *, now: int) -> None:
        """Raises ProtocolError: not_unlocked (no such session any more), wrong_session (no proof).

        A request of the user himself begins the idle time anew; one of a polling page does not.
        """
        self.expire(now=now)
        session = self._sessions.get(envelope.session)
        if session is None:
            raise ProtocolError(ErrorCode.NOT_UNLOCKED)
        envelope.check_session(session.request_key)
        if not envelope.background:
            session.used = now
