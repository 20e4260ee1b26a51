"""Write outgoing messages: from a draft to the MIME entity that is signed, and the mail around it.

All lines end in CRLF, are 7-bit and short enough for SMTP, so that no server on the way has a
reason to change what was signed (RFC 8551 §3.1.3). Values that people chose cannot end a header
line (:mod:`crypto_agent.mime.writing`). A boundary is 128 random bits: no content can contain it.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from crypto_agent.mime import addresses, writing
from crypto_agent.mime.headers import decode_text, format_date, one_line
from crypto_agent.mime.protection import (
    ProtectedHeaders,
    legacy_display_html,
    legacy_display_plain,
)
from crypto_agent.mime.writing import RefusedValueError

RECIPIENTS_LIMIT: Final = 1_000
ATTACHMENTS_LIMIT: Final = 150
"""Below the 200 parts that a reader takes."""
REFERENCES_LIMIT: Final = 40
"""The thread's first Message-ID and its newest ones; RFC 5322 §3.6.4 lets us trim."""
EXTRA_HEADERS_LIMIT: Final = 20

_EXTRA_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
_OWN_HEADERS: Final = frozenset(
    "from sender reply-to to cc bcc subject date message-id in-reply-to references mime-version "
    "received return-path hp-outer dkim-signature".split()
)
"""Fields that a draft may not set: they are ours to write, or would change what the mail is."""

_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
_CONTENT_ID: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}")


@dataclass(frozen=True)
class Attachment:
    name: str
    type: str
    data: bytes = field(repr=False)
    cid: str = ""
    inline: bool = False


@dataclass(frozen=True)
class Draft:
    """What a person wrote, checked for shape only."""

    subject: str
    sender: tuple[str, str]
    """Name and address."""
    to: tuple[tuple[str, str], ...]
    cc: tuple[tuple[str, str], ...]
    bcc: tuple[tuple[str, str], ...]
    text: str = field(repr=False)
    html: str | None = field(repr=False)
    attachments: tuple[Attachment, ...] = ()
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_payload(cls, untrusted: object) -> Draft:
        """From plain values. Raises RefusedValueError."""
        if not isinstance(untrusted, Mapping):
            raise RefusedValueError("draft")
        found = cls(
            subject=_text(untrusted.get("subject")),
            sender=_pair(untrusted.get("from") or {}),
            to=_pairs(untrusted.get("to")),
            cc=_pairs(untrusted.get("cc")),
            bcc=_pairs(untrusted.get("bcc")),
            text=_text(untrusted.get("text")),
            html=None if untrusted.get("html") is None else _text(untrusted["html"]),
            attachments=tuple(_attachment(each) for each in _list(untrusted.get("attachments"))),
            in_reply_to=_text(untrusted.get("in_reply_to")),
            references=tuple(_text(each) for each in _list(untrusted.get("references"))),
            headers=tuple(
                (_text(name), _text(value))
                for name, value in dict(untrusted.get("headers") or {}).items()
            ),
        )
        if len(found.to) + len(found.cc) + len(found.bcc) > RECIPIENTS_LIMIT:
            raise RefusedValueError("too many recipients")
        if len(found.attachments) > ATTACHMENTS_LIMIT:
            raise RefusedValueError("too many attachments")
        return found

    def to_payload(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "from": _plain(self.sender),
            "to": [_plain(each) for each in self.to],
            "cc": [_plain(each) for each in self.cc],
            "bcc": [_plain(each) for each in self.bcc],
            "text": self.text,
            "html": self.html,
            "attachments": [
                {
                    "name": each.name,
                    "type": each.type,
                    "data": each.data,
                    "cid": each.cid or None,
                    "inline": each.inline,
                }
                for each in self.attachments
            ],
            "in_reply_to": self.in_reply_to,
            "references": list(self.references),
            "headers": dict(self.headers),
        }


def _plain(pair: tuple[str, str]) -> dict[str, str]:
    return {"name": pair[0], "address": pair[1]}


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RefusedValueError("text")
    return value


def _list(value: object) -> Sequence[Any]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise RefusedValueError("list")
    return value


def _pair(value: object) -> tuple[str, str]:
    if not isinstance(value, Mapping):
        raise RefusedValueError("mailbox")
    return _text(value.get("name")), _text(value.get("address"))


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    return tuple(_pair(each) for each in _list(value))


def _attachment(value: object) -> Attachment:
    if not isinstance(value, Mapping) or not isinstance(value.get("data"), bytes):
        raise RefusedValueError("attachment")
    return Attachment(
        name=_text(value.get("name")),
        type=_text(value.get("type")).lower(),
        data=value["data"],
        cid=_text(value.get("cid")),
        inline=value.get("inline") is True,
    )


# --------------------------------------------------------------------------- headers


def headers_of(
    draft: Draft, *, date: int, message_id: str, sender: tuple[str, str] | None = None
) -> list[tuple[str, str]]:
    """The non-structural headers of the message, encoded. Bcc is never among them.

    ``date`` in milliseconds. Raises RefusedValueError for an address, identifier or extra header
    that cannot be written.
    """
    found = [
        ("From", writing.mailboxes([sender or draft.sender], taken=6)),
        ("Date", format_date(date)),
        ("Message-ID", writing.message_id(message_id)),
        ("Subject", writing.text(draft.subject, taken=9)),
    ]
    for name, group in (("To", draft.to), ("Cc", draft.cc)):
        if group:
            found.append((name, writing.mailboxes(group, taken=4)))
    if draft.in_reply_to and (answered := writing.message_ids([draft.in_reply_to])):
        found.append(("In-Reply-To", answered))
    kept = draft.references
    if len(kept) > REFERENCES_LIMIT:
        kept = (kept[0], *kept[-(REFERENCES_LIMIT - 1) :])
    if references := writing.message_ids(kept):
        found.append(("References", references))
    if len(draft.headers) > EXTRA_HEADERS_LIMIT:
        raise RefusedValueError("headers")
    for name, value in draft.headers:
        if not _EXTRA_HEADER.fullmatch(name) or _is_own(name):
            raise RefusedValueError("header name")
        found.append((name, writing.text(value, taken=len(name) + 2)))
    return found


def _is_own(name: str) -> bool:
    key = name.lower()
    return key in _OWN_HEADERS or key.startswith(("content-", "resent-", "arc-"))


def block(headers: Sequence[tuple[str, str]]) -> bytes:
    """Header lines, without the blank one."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("ascii")


# --------------------------------------------------------------------------- the payload


def payload(draft: Draft, protected: ProtectedHeaders) -> bytes:
    """The cryptographic payload: the whole message with its headers, ready to be signed."""
    return _with_headers(
        content_entity(draft, legacy=protected.legacy), block(protected.inside), protected.hp
    )


def _with_headers(entity: bytes, lines: bytes, hp: str) -> bytes:
    """Put protected headers before an entity, and ``hp=`` on its Content-Type (RFC 9788 §2.1)."""
    kind, rest = entity.split(b"\r\n", 1)
    # Right after the type, where no folded parameter can swallow it.
    name, separator, parameters = kind.partition(b";")
    marked = name + b'; hp="' + hp.encode("ascii") + b'"' + separator + parameters
    return lines + b"MIME-Version: 1.0\r\n" + marked + b"\r\n" + rest


def content_entity(
    draft: Draft, *, legacy: Sequence[tuple[str, str]] = (), flowed: bool = True
) -> bytes:
    """The MIME entity of text, HTML and attachments; its first line is its Content-Type.

    ``legacy``: encoded headers for the legacy display element (RFC 9788 §3.4), if any.
    """
    shown = [f"{name}: {decode_text(value.encode('ascii'))}" for name, value in legacy]
    text = draft.text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if shown:
        text = legacy_display_plain(shown) + text
    main = text_entity("text/plain", text, legacy=bool(shown), flowed=flowed)
    attached = list(draft.attachments)
    if draft.html is not None:
        html = draft.html.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
        if shown:
            html = _into_body(html, legacy_display_html(shown))
        rich = text_entity("text/html", html, legacy=bool(shown), flowed=False)
        images = [each for each in attached if each.inline and each.cid]
        if images:
            attached = [each for each in attached if not (each.inline and each.cid)]
            rich = multipart(
                "related", [rich, *map(attachment_entity, images)], (("type", "text/html"),)
            )
        main = multipart("alternative", [main, rich])
    if not attached:
        return main
    return multipart("mixed", [main, *map(attachment_entity, attached)])


_BODY_TAG: Final = re.compile(r"<body\b[^<>]{0,2000}>", re.IGNORECASE)


def _into_body(html: str, element: str) -> str:
    tag = _BODY_TAG.search(html)
    at = tag.end() if tag else 0
    return html[:at] + element + html[at:]


def text_entity(kind: str, text: str, *, legacy: bool = False, flowed: bool = True) -> bytes:
    """A text part: as it is when every line survives SMTP, else quoted-printable or base64."""
    parameters = ""
    if flowed and _worth_flowing(text):
        text = flow(text)
        parameters += "; format=flowed"
    if text and not text.endswith("\n"):
        # A last line without an end gets one on the way: written here, it is signed like that.
        text += "\n"
    charset = "us-ascii" if text.isascii() else "utf-8"
    if legacy:
        parameters += '; hp-legacy-display="1"'
    octets = text.encode("utf-8", "replace").replace(b"\n", b"\r\n")
    encoding, body = encode_text(octets)
    return (
        f"Content-Type: {kind}; charset={charset}{parameters}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode("ascii") + body


_FRAGILE_LINE: Final = re.compile(
    rb"^(?:From |\.)|[ \t]\r?$|[^\r\n]{79}|[^\t\r\n -~]", re.MULTILINE
)
"""What servers on the way change: mbox "From ", leading dots, blanks at the end, long lines."""


def encode_text(octets: bytes) -> tuple[str, bytes]:
    """(transfer encoding, body) for text with CRLF line ends."""
    if not _FRAGILE_LINE.search(octets):
        return "7bit", octets
    quoted = binascii.b2a_qp(octets, quotetabs=False, istext=True)
    quoted = re.sub(rb"^From ", b"=46rom ", quoted, flags=re.MULTILINE)
    quoted = re.sub(rb"^\.", b"=2E", quoted, flags=re.MULTILINE)
    if len(quoted) <= len(octets) * 4 // 3 + 64:
        return "quoted-printable", quoted
    return "base64", base64_lines(octets)


def base64_lines(data: bytes) -> bytes:
    """Base64 in lines of 76 letters, each with CRLF (RFC 2045 §6.8)."""
    letters = binascii.b2a_base64(data, newline=False)
    lines = [letters[at : at + 76] for at in range(0, len(letters), 76)]
    return b"\r\n".join([*lines, b""])


FLOW_AT: Final = 72
"""RFC 3676 §4.2: flowed lines SHOULD be 78 letters or less."""


def _worth_flowing(text: str) -> bool:
    """Long lines of words. Text without blanks between words (Chinese) is left to the encoding."""
    return any(
        len(line) > 78 and line.isascii() and not line.startswith(">") for line in text.split("\n")
    )


def flow(text: str) -> str:
    """Wrap long lines as format=flowed (RFC 3676 §4): a blank at the end means "goes on"."""
    lines = []
    for line in text.split("\n"):
        quoted = line.startswith(">")
        if line != "-- ":
            line = line.rstrip(" ")
        while not quoted and len(line) > 78:
            cut = line.rfind(" ", 1, FLOW_AT)
            if cut <= 0 or not line[:cut].strip():
                cut = line.find(" ", FLOW_AT)
            if cut <= 0:
                break
            lines.append(_stuffed(line[: cut + 1]))
            line = line[cut + 1 :]
        lines.append(line if quoted else _stuffed(line))
    return "\n".join(lines)


def _stuffed(line: str) -> str:
    """RFC 3676 §4.4: a blank before lines that would be read as something else."""
    return f" {line}" if line.startswith((" ", "From ", ">")) else line


def check_attachment(attachment: Attachment) -> None:
    """Raises RefusedValueError for one that cannot be written."""
    if attachment.cid and not _CONTENT_ID.fullmatch(attachment.cid):
        raise RefusedValueError("content id")


def attachment_entity(attachment: Attachment) -> bytes:
    """One attachment. A mail in a mail stays readable as such when it is 7-bit, as RFC 2046 §5.2.1
    wants; otherwise its octets travel untouched under the name of a file."""
    kind = attachment.type if _MEDIA_TYPE.fullmatch(attachment.type) else ""
    if kind.startswith(("multipart/", "message/")) and kind != "message/rfc822":
        kind = ""
    encoding, body = "base64", b""
    if kind == "message/rfc822":
        if _is_seven_bit(attachment.data):
            encoding, body = "7bit", attachment.data
        else:
            kind = ""
    kind = kind or "application/octet-stream"
    name = one_line(attachment.name)[:200]
    disposition = "inline" if attachment.inline else "attachment"
    lines = f"Content-Type: {kind}" + (writing.parameter("name", name) if name else "") + "\r\n"
    lines += f"Content-Transfer-Encoding: {encoding}\r\n"
    check_attachment(attachment)
    if attachment.cid:
        lines += f"Content-ID: <{attachment.cid}>\r\n"
    lines += f"Content-Disposition: {disposition}"
    lines += (writing.parameter("filename", name) if name else "") + "\r\n\r\n"
    if encoding == "base64":
        body = base64_lines(attachment.data)
    return lines.encode("ascii") + body


_NOT_SEVEN_BIT: Final = re.compile(
    rb"[^\t\r\n -~]|[^\r\n]{991}|\r(?!\n)|(?<!\r)\n|^From |[ \t]\r$", re.M
)


def _is_seven_bit(data: bytes) -> bool:
    return _NOT_SEVEN_BIT.search(data) is None


def multipart(
    subtype: str, children: Sequence[bytes], parameters: Sequence[tuple[str, str]] = ()
) -> bytes:
    """A multipart of entities, its boundary on the first line of the header."""
    boundary = f"=_{secrets.token_hex(16)}"
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"'
    head += "".join(writing.parameter(name, value) for name, value in parameters)
    delimiter = f"\r\n--{boundary}\r\n".encode("ascii")
    chunks = [head.encode("ascii"), b"\r\n"]
    for child in children:
        chunks += [delimiter, child]
    chunks.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return b"".join(chunks)


# --------------------------------------------------------------------------- cryptographic layers


def multipart_signed(entity: bytes, signature: bytes, *, micalg: str) -> bytes:
    """RFC 8551 §3.5.3: the entity exactly as it was signed, then the detached signature."""
    part = (
        b'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
        b"Content-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="smime.p7s"\r\n'
        b"\r\n"
    ) + base64_lines(signature)
    return multipart(
        "signed",
        [entity, part],
        (("protocol", "application/pkcs7-signature"), ("micalg", micalg)),
    )


def pkcs7_mime(content: bytes, *, smime_type: str) -> bytes:
    """RFC 8551 §3.3: ``enveloped-data``, ``authEnveloped-data`` or ``signed-data``."""
    return (
        f'Content-Type: application/pkcs7-mime; smime-type={smime_type}; name="smime.p7m"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="smime.p7m"\r\n'
        "\r\n"
    ).encode("ascii") + base64_lines(content)


def mail(headers: Sequence[tuple[str, str]], entity: bytes) -> bytes:
    """The whole message: outer headers, then the outermost entity."""
    return block(headers) + b"MIME-Version: 1.0\r\n" + entity


def comparable(value: str) -> str:
    """An address for comparing recipients; "" when it is none."""
    return addresses.normal(value).lower()
