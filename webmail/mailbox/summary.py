"""What a list row remembers of an opened mail: verdict, real subject, first words.

Of a mail that was not encrypted it stands in columns. Of an encrypted one only the owner's agent
can read it again: subject, words and verdict together, sealed under the vault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils import timezone

from crypto_agent import protocol
from webmail.certificates.harvest import is_shut
from webmail.mailbox.models import ADDRESS_LENGTH, SUBJECT_LENGTH, Kind, Message
from webmail.message import addresses, preview
from webmail.message.headers import clean

_PRESENT: Final = 2
"""Version of the sealed value."""

RECIPIENTS: Final = 3
"""A list names so many."""


@dataclass(frozen=True)
class Summary:
    """The few facts of an opened mail that a list shows."""

    subject: str
    snippet: str
    state: str
    level: str
    signer_name: str
    signer_organisation: str
    fingerprint: str
    timestamped: bool
    revocation: str
    has_attachments: bool
    recipients: str

    @classmethod
    def of(cls, opened: dict[str, Any]) -> Summary:
        """From the result of the agent's ``open``."""
        verdict = opened["verdict"]
        signer = verdict.get("signer") or {}
        shut = is_shut(opened)
        return cls(
            subject=clean(str(opened["headers"].get("subject") or ""))[:SUBJECT_LENGTH],
            snippet=_snippet(opened.get("bodies", [])),
            state="shut" if shut and verdict["state"] == "unsigned" else str(verdict["state"]),
            level=str(signer.get("level", "")) if verdict["state"] == "verified" else "",
            signer_name=clean(str(signer.get("name") or ""))[:ADDRESS_LENGTH],
            signer_organisation=clean(str(signer.get("organisation") or ""))[:ADDRESS_LENGTH],
            fingerprint=str(signer.get("fingerprint", "")),
            timestamped=bool((verdict.get("time") or {}).get("proven")),
            revocation=str(verdict.get("revocation", "")),
            has_attachments=any(not each.get("inline") for each in opened.get("attachments", [])),
            recipients=_names(opened["headers"].get("to") or []),
        )

    @classmethod
    def of_draft(cls, draft: dict[str, Any]) -> Summary:
        """From the result of the agent's ``open_draft``."""
        return cls(
            subject=clean(str(draft.get("subject") or ""))[:SUBJECT_LENGTH],
            snippet=preview.snippet(str(draft.get("text") or "")),
            state="",
            level="",
            signer_name="",
            signer_organisation="",
            fingerprint="",
            timestamped=False,
            revocation="",
            has_attachments=bool(draft.get("attachments")),
            recipients=_names(draft.get("to") or []),
        )

    def pack(self) -> bytes:
        return protocol.pack(
            [
                _PRESENT,
                self.subject,
                self.snippet,
                self.state,
                self.level,
                self.signer_name,
                self.signer_organisation,
                self.fingerprint,
                self.timestamped,
                self.revocation,
                self.has_attachments,
                self.recipients,
            ]
        )

    @classmethod
    def unpack(cls, data: bytes) -> Summary | None:
        """None for a value of another version; it is made again at the next opening."""
        try:
            fields = protocol.unpack(data)
            if not isinstance(fields, list) or fields[0] != _PRESENT:
                return None
            return cls(*fields[1:])
        except (protocol.ProtocolError, TypeError, IndexError):
            return None


def _names(people: Sequence[dict[str, Any]]) -> str:
    return ", ".join(
        addresses.shown(clean(str(each.get("name") or "")), clean(str(each.get("address") or "")))
        for each in people[:RECIPIENTS]
    )[:ADDRESS_LENGTH]


def _snippet(bodies: Sequence[dict[str, Any]]) -> str:
    roots = [body for body in bodies if body.get("root")] or list(bodies)
    texts = [body for body in roots if body.get("type") == "text/plain"]
    for body in texts or roots:
        words = preview.snippet(str(body["text"]), is_html=body.get("type") == "text/html")
        if words:
            return words
    return ""


def is_sealed(message: Message, opened: dict[str, Any]) -> bool:
    """Whether anything of ``opened`` came out of an encrypted layer."""
    return message.kind == Kind.ENCRYPTED or "encrypted" in str(opened.get("protection", ""))


def keep(message: Message, summary: Summary) -> None:
    """Store the summary of a mail that was not encrypted in its row."""
    message.verdict_state = summary.state
    message.verdict_level = summary.level
    message.signer_name = summary.signer_name if summary.state == "verified" else ""
    message.signer_organisation = summary.signer_organisation if summary.state == "verified" else ""
    message.signer_fingerprint = summary.fingerprint
    message.timestamped = summary.timestamped
    message.revocation = summary.revocation[:8]
    message.snippet = summary.snippet
    message.has_attachments = summary.has_attachments
    message.judged_at = timezone.now()
    Message.objects.filter(pk=message.pk).update(
        **{
            name: getattr(message, name)
            for name in (
                "verdict_state",
                "verdict_level",
                "signer_name",
                "signer_organisation",
                "signer_fingerprint",
                "timestamped",
                "revocation",
                "snippet",
                "has_attachments",
                "judged_at",
            )
        }
    )


def keep_sealed(message: Message, sealed: bytes) -> None:
    """Store the sealed summary of an encrypted mail."""
    message.sealed_summary = sealed
    Message.objects.filter(pk=message.pk).update(sealed_summary=sealed, judged_at=timezone.now())
