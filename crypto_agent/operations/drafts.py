"""``seal_draft`` and ``open_draft``: what is being written, as a message encrypted to its writer.

A draft lies on the mail server, where others may put messages too. Inside the encryption it carries
a field sealed under the vault and bound to its content: without it, an encrypted message is not
opened as a draft. Otherwise somebody's encrypted letter, moved into the Drafts folder, would be
opened into an editor and sent on.
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any, Final

from crypto_agent.cms.errors import CmsError
from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.mime import addresses, build, headers, protection, writing
from crypto_agent.mime.build import Draft
from crypto_agent.mime.headers import Headers
from crypto_agent.mime.scanner import Budget, Part, TooComplexError, scan
from crypto_agent.mime.writing import RefusedValueError
from crypto_agent.operations.content import Content, Surroundings, collect
from crypto_agent.operations.context import DRAFT, KeyAccess, require
from crypto_agent.operations.hold import MAIL_LIMIT
from crypto_agent.operations.layers import Opened, Walker
from crypto_agent.operations.release import seal_entity
from crypto_agent.protocol import pack, unpack

DRAFT_VERSION: Final = 1
_PROOF: Final = "X-Sealpost-Draft"


def seal_draft(keys: KeyAccess | None, payload: dict[str, Any]) -> dict[str, Any]:
    """``{"draft"}`` → ``{"mail"}``, ready for APPEND; the caller sets the outer Message-ID.

    Takes half-typed addresses: they are kept, and left out of the headers. Raises ProtocolError:
    bad_request, too_large, no_matching_key.
    """
    keys = require(keys)
    own = list(keys.own_certificates())
    if not own:
        raise ProtocolError(ErrorCode.NO_MATCHING_KEY, "no encryption certificate")
    try:
        draft = Draft.from_payload(payload.get("draft"))
        entity = _entity(draft)
    except RefusedValueError as error:
        raise ProtocolError(ErrorCode.BAD_REQUEST, str(error)) from error
    if len(entity) > MAIL_LIMIT:
        raise ProtocolError(ErrorCode.TOO_LARGE)
    inside = [*_headers(draft), (_PROOF, _folded(keys.seal(DRAFT, _proof(draft, entity))))]
    now = int(time.time() * 1000)
    outside = [
        *_sender(draft),
        ("Date", headers.format_date(now)),
        ("Subject", protection.OBSCURED_SUBJECT),
    ]
    try:
        sealed = seal_entity(build.block(inside) + entity, own, gcm=True)
    except CmsError as error:
        raise ProtocolError(ErrorCode.CERTIFICATE_REFUSED, error.code) from error
    return {"mail": build.mail(outside, sealed)}


def _entity(draft: Draft) -> bytes:
    """multipart/mixed: the text, or text and HTML as alternatives; then the attachments."""
    main = build.text_entity("text/plain", _lines(draft.text), flowed=False)
    if draft.html is not None:
        rich = build.text_entity("text/html", _lines(draft.html), flowed=False)
        main = build.multipart("alternative", [main, rich])
    return build.multipart("mixed", [main, *map(build.attachment_entity, draft.attachments)])


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _proof(draft: Draft, entity: bytes) -> bytes:
    """Everything but the texts and files, and the digest of those."""
    fields = draft.to_payload()
    kept = [[each.name, each.type, each.cid, each.inline] for each in draft.attachments]
    ends = [not _lines(draft.text).endswith("\n"), not _lines(draft.html or "").endswith("\n")]
    for name in ("text", "html", "attachments"):
        del fields[name]
    body = entity[entity.index(b"\r\n\r\n") + 4 :]
    return pack([DRAFT_VERSION, fields, kept, ends, hashlib.sha256(body).digest()])


def _folded(sealed: bytes) -> str:
    letters = base64.b64encode(sealed).decode("ascii")
    return "\r\n ".join(letters[at : at + 70] for at in range(0, len(letters), 70))


def _sender(draft: Draft) -> list[tuple[str, str]]:
    return [("From", writing.mailbox(*draft.sender))] if _is_writable(draft.sender[1]) else []


def _is_writable(address: str) -> bool:
    found = addresses.normal(address)
    return bool(found) and found.isascii()


def _headers(draft: Draft) -> list[tuple[str, str]]:
    """For another program that holds the key; ours reads the sealed field."""
    found = [*_sender(draft), ("Subject", writing.text(draft.subject, taken=9))]
    for name, group in (("To", draft.to), ("Cc", draft.cc), ("Bcc", draft.bcc)):
        usable = [pair for pair in group if _is_writable(pair[1])]
        if usable:
            found.append((name, writing.mailboxes(usable, taken=5)))
    return found


def open_draft(keys: KeyAccess | None, payload: dict[str, Any]) -> dict[str, Any]:
    """``{"mail"}`` → ``{"draft", "uses"}``.

    Raises ProtocolError: no_matching_key, decrypt_failed; forged for an encrypted message that this
    vault did not write as a draft; bad_request, too_complex. A draft in clear, made by another
    program, is read as it is.
    """
    keys = require(keys)
    mail = payload.get("mail")
    if not isinstance(mail, bytes):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "draft")
    walker = Walker(keys.decryption_keys(), Budget())
    try:
        root = scan(mail, budget=walker.budget)
        opened = walker.walk(root)
        _check_opened(opened)
        if opened.encrypted:
            draft = _own_draft(keys, opened.payload)
        else:
            draft = _foreign_draft(root, opened, walker)
    except TooComplexError as error:
        raise ProtocolError(ErrorCode.TOO_COMPLEX) from error
    return {"draft": draft.to_payload(), "uses": walker.uses}


def _check_opened(opened: Opened) -> None:
    if opened.encrypted and opened.problem:
        code = {
            "decrypt.no_key": ErrorCode.NO_MATCHING_KEY,
            "decrypt.failed": ErrorCode.DECRYPT_FAILED,
        }.get(opened.problem, ErrorCode.BAD_REQUEST)
        raise ProtocolError(code, "draft")


def _own_draft(keys: KeyAccess, payload: Part) -> Draft:
    try:
        sealed = base64.b64decode(payload.headers.first(_PROOF), validate=False)
        version, fields, kept, ends, digest = unpack(keys.unseal(DRAFT, sealed))
        body = payload.source[payload.body : payload.end]
        if version != DRAFT_VERSION or hashlib.sha256(body).digest() != digest:
            raise ProtocolError(ErrorCode.FORGED, "draft")
        main, *files = payload.children
        text, html = main, None
        if main.children:
            text, html = main.children
        return Draft.from_payload(
            {
                **fields,
                "text": _ended(text, cut=ends[0]),
                "html": None if html is None else _ended(html, cut=ends[1]),
                "attachments": [
                    {
                        "name": name,
                        "type": kind,
                        "cid": cid,
                        "inline": inline,
                        "data": file.content(),
                    }
                    for (name, kind, cid, inline), file in zip(kept, files, strict=True)
                ],
            }
        )
    except (ValueError, TypeError) as error:
        raise ProtocolError(ErrorCode.FORGED, "draft") from error


def _ended(part: Part, *, cut: bool) -> str:
    """The text as it was: writing it may have added an end to its last line."""
    text = part.text()
    return text.removesuffix("\n") if cut else text


def _foreign_draft(root: Part, opened: Opened, walker: Walker) -> Draft:
    content = Content()
    collect(opened.payload, Surroundings(root=True), content, walker)
    if content.errant:
        # Something encrypted beside the text: never taken into an editor.
        raise ProtocolError(ErrorCode.FORGED, "draft")
    found: Headers = root.headers
    text = next((body.text for body in content.bodies if body.type == "text/plain"), "")
    html = next((body.text for body in content.bodies if body.type == "text/html"), None)

    def group(name: str) -> list[dict[str, str]]:
        return [each.to_plain() for each in addresses.parse_all(found.all(name))]

    return Draft.from_payload(
        {
            "subject": found.text("subject"),
            "from": next(iter(group("from")), {}),
            "to": group("to"),
            "cc": group("cc"),
            "bcc": group("bcc"),
            "text": text,
            "html": html,
            "attachments": [
                {
                    "name": each.name,
                    "type": each.type,
                    "cid": each.cid,
                    "inline": each.inline,
                    "data": content.parts[each.id].content(),
                }
                for each in content.attachments
            ],
            "in_reply_to": next(iter(headers.message_ids(found.first("in-reply-to"))), ""),
            "references": headers.message_ids(found.first("references")),
        }
    )
