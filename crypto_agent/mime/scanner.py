"""A bounded MIME scanner over raw octets: where every part begins and ends, and nothing else.

Parts are offsets into the source, so that a signed part is cut exactly as it came (a re-serialised
tree would not verify). One pass per level with C-speed searches, no recursion, and caps before
work: a message beyond them is refused as too complex instead of being half understood.

Part ids: ``"1"`` for a message of one part, ``"2"``, ``"2.1"`` for children as IMAP counts them
(RFC 9051 §6.4.5), ``"1c"`` and ``"1c.2"`` for what a cryptographic container holds, ``"0"`` for a
multipart root. ``message/rfc822`` is a leaf: a mail in a mail is never opened in place.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from crypto_agent.mime import charsets
from crypto_agent.mime.headers import Headers, lenient_base64, structured

PARTS_LIMIT: Final = 200
DEPTH_LIMIT: Final = 20
HEADER_LIMIT: Final = 256 * 1024
"""Octets of one header block."""
HEADERS_TOTAL_LIMIT: Final = 1024 * 1024
"""Octets of all header blocks of a message together."""
DECODED_LIMIT: Final = 200 * 1024 * 1024
"""Octets that all layers of a message may expand to (bombs)."""
BOUNDARY_LIMIT: Final = 256
"""RFC 2046 §5.1.1 allows 70; some programs write more."""
FALSE_DELIMITERS_LIMIT: Final = 10_000
"""Lines that begin like a delimiter and are none: more is an attempt to waste time."""

NO_BOUNDARY: Final = "no_boundary"
"""A multipart without (usable) boundary or delimiter lines: it is shown as one opaque part."""
UNCLOSED: Final = "unclosed"
"""The closing delimiter is missing: cut off on the way."""
DUPLICATE_TYPE: Final = "duplicate_type"
"""Two Content-Type fields: programs differ in which they obey."""


class TooComplexError(Exception):
    """A cap was reached; the message is not opened."""


@dataclass
class Budget:
    """What a whole message may use, over all its layers."""

    parts: int = PARTS_LIMIT
    headers: int = HEADERS_TOTAL_LIMIT
    octets: int = DECODED_LIMIT

    def take_part(self) -> None:
        self.parts -= 1
        if self.parts < 0:
            raise TooComplexError

    def take_headers(self, size: int) -> None:
        self.headers -= size
        if size > HEADER_LIMIT or self.headers < 0:
            raise TooComplexError

    def take_octets(self, size: int) -> None:
        """Account for ``size`` octets that a layer or a part expanded to."""
        self.octets -= size
        if self.octets < 0:
            raise TooComplexError


@dataclass(slots=True)
class Part:
    """One MIME entity: ``source[start:end]``, its body from ``body``."""

    id: str
    source: bytes = field(repr=False)
    start: int
    body: int
    end: int
    """Without the line break that belongs to the following delimiter (RFC 2046 §5.1.1)."""
    headers: Headers = field(repr=False)
    type: str
    """Lower case, ``text/plain`` by default (RFC 2045 §5.2)."""
    parameters: dict[str, str]
    disposition: str
    disposition_parameters: dict[str, str]
    encoding: str
    depth: int
    children: list[Part] = field(default_factory=list, repr=False)
    defects: set[str] = field(default_factory=set)

    @property
    def is_multipart(self) -> bool:
        return bool(self.children)

    @property
    def size(self) -> int:
        """Octets of the body, decoded; exact for all encodings but quoted-printable."""
        length = self.end - self.body
        if self.encoding == "base64":
            breaks = self.source.count(b"\n", self.body, self.end)
            breaks += self.source.count(b"\r", self.body, self.end)
            padding = self.source.count(b"=", max(self.body, self.end - 8), self.end)
            return max(0, (length - breaks) * 3 // 4 - padding)
        return length

    @property
    def name(self) -> str:
        """The file name the sender gave, one line, "" when there is none."""
        return self.disposition_parameters.get("filename") or self.parameters.get("name") or ""

    @property
    def content_id(self) -> str:
        """Without angle brackets (RFC 2392 §2)."""
        return self.headers.text("content-id").strip("<> ")

    def octets(self) -> bytes:
        """The entity exactly as it stands in the source: what a detached signature covers."""
        return self.source[self.start : self.end]

    def content(self) -> bytes:
        """The body with its transfer encoding undone, as far as it can be."""
        return decode_transfer(self.source[self.body : self.end], self.encoding)

    def text(self) -> str:
        """The body as text, line ends as ``\\n``."""
        decoded = charsets.decode(self.content(), self.parameters.get("charset", ""))
        return decoded.replace("\r\n", "\n").replace("\r", "\n")

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in the order of the message."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            yield part
            waiting.extend(reversed(part.children))


def decode_transfer(body: bytes, encoding: str) -> bytes:
    """Undo a Content-Transfer-Encoding (RFC 2045 §6); unknown ones are taken as binary."""
    if encoding == "base64":
        return lenient_base64(body)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if encoding in ("x-uuencode", "uuencode", "x-uue"):
        return _uudecode(body)
    return body


def _uudecode(body: bytes) -> bytes:
    out = []
    inside = False
    for line in body.splitlines():
        if not inside:
            inside = line.startswith(b"begin ")
            continue
        if line.strip() in (b"end", b"`", b""):
            break
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            # Some encoders pad lines wrongly: only as many letters as the length octet says.
            length = ((line[0] - 32) & 63) * 4 // 3 + 4
            try:
                out.append(binascii.a2b_uu(line[:length]))
            except binascii.Error:
                break
    return b"".join(out)


# --------------------------------------------------------------------------- scanning


def scan(source: bytes, *, budget: Budget | None = None, inside: str = "") -> Part:
    """The tree of ``source``, a whole entity. ``inside``: id of the container it came out of.

    Raises TooComplexError.
    """
    budget = budget or Budget()
    root = _entity(source, 0, len(source), budget, depth=0, default="text/plain")
    root.id = f"{inside}c" if inside else ("0" if root.type.startswith("multipart/") else "1")
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if not part.type.startswith("multipart/"):
            continue
        _split(part, budget)
        prefix = "" if part.id == "0" else f"{part.id}."
        for number, child in enumerate(part.children, 1):
            child.id = f"{prefix}{number}"
        waiting.extend(reversed(part.children))
    return root


def headers_end(source: bytes, start: int, end: int) -> tuple[int, int]:
    """(end of the header block, start of the body). Raises TooComplexError when it is too long."""
    if source.startswith(b"\r\n", start, end):
        return start, start + 2
    if source.startswith(b"\n", start, end):
        return start, start + 1
    limit = min(end, start + HEADER_LIMIT + 4)
    bare = source.find(b"\n\n", start, limit)
    crlf = source.find(b"\n\r\n", start, limit if bare < 0 else bare + 1)
    if crlf >= 0 and (bare < 0 or crlf < bare):
        return crlf + 1, crlf + 3
    if bare >= 0:
        return bare + 1, bare + 2
    if limit < end:
        raise TooComplexError
    return end, end


def _entity(
    source: bytes, start: int, end: int, budget: Budget, *, depth: int, default: str
) -> Part:
    if depth > DEPTH_LIMIT:
        raise TooComplexError
    budget.take_part()
    block_end, body = headers_end(source, start, end)
    budget.take_headers(block_end - start)
    headers = Headers(source[start:block_end])
    kind, parameters = structured(headers.first("content-type"))
    if not _MEDIA_TYPE.fullmatch(kind):
        # RFC 2045 §5.2: without a usable type it is text/plain; with a broken one we cannot know.
        kind = default if not kind else "application/octet-stream"
    disposition, disposition_parameters = structured(headers.first("content-disposition"))
    encoding, _ = structured(headers.first("content-transfer-encoding"))
    part = Part(
        id="",
        source=source,
        start=start,
        body=body,
        end=end,
        headers=headers,
        type=kind,
        parameters=parameters,
        disposition=disposition,
        disposition_parameters=disposition_parameters,
        encoding=encoding,
        depth=depth,
    )
    if len(headers.all("content-type")) > 1:
        part.defects.add(DUPLICATE_TYPE)
    return part


_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}")


def _split(part: Part, budget: Budget) -> None:
    """Fill in the children of a multipart."""
    boundary = part.parameters.get("boundary", "").rstrip()
    delimiter = b"--" + boundary.encode("utf-8", "replace")
    if not boundary or len(delimiter) > BOUNDARY_LIMIT + 2:
        part.defects.add(NO_BOUNDARY)
        return
    default = "message/rfc822" if part.type == "multipart/digest" else "text/plain"
    begin = -1
    closed = False
    for line_start, line_end, closing in _delimiters(part, delimiter):
        if begin >= 0:
            end = _before_line_break(part.source, begin, line_start)
            part.children.append(
                _entity(part.source, begin, end, budget, depth=part.depth + 1, default=default)
            )
        begin = line_end
        if closing:
            closed = True
            break
    if begin < 0:
        part.defects.add(NO_BOUNDARY)
        return
    if not closed:
        part.defects.add(UNCLOSED)
        part.children.append(
            _entity(part.source, begin, part.end, budget, depth=part.depth + 1, default=default)
        )


def _before_line_break(source: bytes, begin: int, line_start: int) -> int:
    """The end of a part whose delimiter line starts at ``line_start``."""
    end = line_start
    if end > begin and source[end - 1 : end] == b"\n":
        end -= 1
        if end > begin and source[end - 1 : end] == b"\r":
            end -= 1
    return max(begin, end)


def _delimiters(part: Part, delimiter: bytes) -> Iterator[tuple[int, int, bool]]:
    """(start of the line, start of the next line, whether it closes) of each delimiter line.

    Only a line that holds the delimiter, an optional ``--`` and blanks counts (RFC 2046 §5.1.1):
    another boundary that begins with this one is not taken for it.
    """
    source, end = part.source, part.end
    false_hits = 0
    if source.startswith(delimiter, part.body, end):
        position = part.body
    else:
        position = _next_line_with(source, delimiter, part.body, end)
    while position >= 0:
        after = position + len(delimiter)
        line_break = source.find(b"\n", after, min(end, after + 1024))
        line_end = line_break + 1 if line_break >= 0 else min(end, after + 1024)
        rest = source[after:line_end].rstrip(b" \t\r\n")
        complete = line_break >= 0 or line_end == end
        if complete and rest in (b"", b"--"):
            yield position, line_end, rest == b"--"
            # The line break of this line may be the one before the next delimiter.
            position = _next_line_with(source, delimiter, line_end - 1, end)
        else:
            false_hits += 1
            if false_hits > FALSE_DELIMITERS_LIMIT:
                raise TooComplexError
            position = _next_line_with(source, delimiter, after, end)


def _next_line_with(source: bytes, delimiter: bytes, start: int, end: int) -> int:
    found = source.find(b"\n" + delimiter, start, end)
    return found + 1 if found >= 0 else -1
