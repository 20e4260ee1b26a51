"""What of a payload is shown: texts, each by itself, and attachments.

Parts are never joined, whatever stands between them: HTML that opens a tag in one part and closes
it in the next would carry the text between to a stranger (EFAIL, direct exfiltration).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

from crypto_agent.mime import protection
from crypto_agent.mime.scanner import Part
from crypto_agent.operations import layers
from crypto_agent.operations.layers import Opened, Walker

_TEXTS: Final = frozenset({"text/plain", "text/html"})
_AMP: Final = "text/x-amp-html"


@dataclass(frozen=True)
class Surroundings:
    """What is true of all parts in one place of the mail."""

    encrypted: bool = False
    signed: bool = False
    """By a signature that holds."""
    root: bool = False
    remote_allowed: bool = True
    legacy_display: bool = False
    """hp="cipher" in force: marked texts begin with a legacy display element to be removed."""
    old_display: bool = False
    """protected-headers="v1" in force: an extra part repeats headers."""
    alternative: str | None = None
    mixed: bool = True
    """Whether only multipart/mixed stands between here and the payload root."""

    @property
    def protection(self) -> str:
        return protection.state(signed=self.signed, encrypted=self.encrypted)


@dataclass(frozen=True)
class Body:
    """A text to show."""

    id: str
    type: str
    text: str = field(repr=False)
    protection: str
    root: bool
    alternative: str | None
    remote_allowed: bool

    def to_plain(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": self.type,
            "text": self.text,
            "protection": self.protection,
            "root": self.root,
            "alternative": self.alternative,
            "remote_allowed": self.remote_allowed,
        }


@dataclass(frozen=True)
class Attached:
    """A part to save; a mail within the mail too."""

    id: str
    name: str
    type: str
    size: int
    cid: str
    inline: bool
    protection: str

    def to_plain(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "size": self.size,
            "cid": self.cid,
            "inline": self.inline,
            "protection": self.protection,
        }


@dataclass
class Content:
    """What was collected."""

    bodies: list[Body] = field(default_factory=list)
    attachments: list[Attached] = field(default_factory=list)
    errant: list[Opened] = field(default_factory=list)
    """Layers that are not the mail's envelope and were looked into."""
    parts: dict[str, Part] = field(default_factory=dict, repr=False)


def collect(payload: Part, around: Surroundings, content: Content, walker: Walker) -> None:
    """Add what ``payload`` holds to ``content``, in the mail's order. Raises TooComplexError."""
    waiting = [(payload, around)]
    while waiting:
        part, here = waiting.pop()
        if around.old_display and protection.is_old_display_part(part):
            continue
        if here.root and here.mixed and part is not payload and _may_open(part):
            _errant(part, here, content, walker)
        elif part.children:
            waiting.extend(reversed(_children(part, here)))
        elif _is_shown(part, content):
            _show(part, here, content)
        elif part.type != _AMP or here.alternative is None:
            _attach(part, here, content)


def _may_open(part: Part) -> bool:
    """Whether an errant layer stands where mailing lists put it, and is not a mere attachment."""
    return layers.is_clear_signed(part) or (
        layers.is_container(part) and part.disposition != "attachment"
    )


def _children(part: Part, here: Surroundings) -> list[tuple[Part, Surroundings]]:
    if part.type == "multipart/alternative":
        inside = replace(here, alternative=here.alternative or part.id, mixed=False)
        return [(child, inside) for child in part.children]
    if part.type == "multipart/related":
        inside = replace(here, mixed=False)
        first = _related_root(part)
        others = [child for child in part.children if child is not first]
        # Everything but the root is there for the root's sake, never a text by itself.
        return [(first, inside), *((child, replace(inside, alternative="")) for child in others)]
    if layers.is_clear_signed(part):
        # Not opened here: its text is shown without the signature's protection.
        return [(part.children[0], replace(here, mixed=False))]
    mixed = here.mixed and part.type == "multipart/mixed"
    return [(child, replace(here, mixed=mixed)) for child in part.children]


def _related_root(part: Part) -> Part:
    """RFC 2387 §3.2: the part named by ``start``, else the first."""
    start = part.parameters.get("start", "").strip("<> ")
    named = next((child for child in part.children if start and child.content_id == start), None)
    return named or part.children[0]


def _is_shown(part: Part, content: Content) -> bool:
    if part.type not in _TEXTS or part.disposition == "attachment":
        return False
    # A named text in the middle of a mail is a file; the first one is what was written.
    return not part.name or not content.bodies


def _show(part: Part, here: Surroundings, content: Content) -> None:
    if here.alternative == "":
        _attach(part, here, content)
        return
    text = part.text()
    if here.root and here.legacy_display and part.parameters.get("hp-legacy-display") == "1":
        text = protection.without_legacy_display(text, part.type)
    content.parts[part.id] = part
    content.bodies.append(
        Body(
            id=part.id,
            type=part.type,
            text=text,
            protection=here.protection,
            root=here.root,
            alternative=here.alternative,
            remote_allowed=here.remote_allowed,
        )
    )


def _attach(part: Part, here: Surroundings, content: Content) -> None:
    content.parts[part.id] = part
    content.attachments.append(
        Attached(
            id=part.id,
            name=part.name,
            type=part.type,
            size=part.size,
            cid=part.content_id,
            inline=part.disposition != "attachment" and bool(part.content_id),
            protection=here.protection,
        )
    )


def _errant(part: Part, here: Surroundings, content: Content, walker: Walker) -> None:
    """Open a layer inside the payload: shown as its own, and nothing more is opened inside it."""
    opened = walker.walk(part)
    if not opened.layers:
        _attach(part, here, content)
        return
    content.errant.append(opened)
    if opened.problem and opened.payload is part:
        _attach(part, here, content)
        return
    collect(
        opened.payload,
        Surroundings(
            encrypted=here.encrypted or opened.encrypted,
            signed=_holds(opened),
            root=False,
            # Whatever was encrypted beside clear parts was put there by who wrote those parts.
            remote_allowed=here.remote_allowed and not opened.encrypted,
        ),
        content,
        walker,
    )


def _holds(opened: Opened) -> bool:
    """Whether every signer of the part's innermost signature signed these very octets."""
    layer = opened.author_signature
    if layer is None or layer.signed is None or not layer.signed.signers:
        return False
    return all(each.digest.passed and each.signature.passed for each in layer.signed.signers)
