"""Reading BER and DER (X.690) in one bounded pass.

Streamed mail comes in indefinite-length BER, 40 MB in ten thousand chunks. A :class:`Cursor` walks
it once, from left to right, keeps no tree, and hands out slices of the source (memoryview): what is
hashed is what was sent. Nesting and the number of elements are capped, nothing recurses.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from crypto_agent.cms import der
from crypto_agent.cms.errors import DAMAGED, TOO_COMPLEX, CmsError

DEPTH_LIMIT: Final = 32
"""Levels. The deepest honest structure (a certificate's names inside a token) stays below 20."""

ELEMENT_LIMIT: Final = 500_000
"""Elements per cursor. 100 MB in chunks of 1,000 octets are 100,000; two-octet chunks an attack."""

CONSTRUCTED: Final = 0x20
INDEFINITE: Final = -1

Octets = bytes | memoryview


class Cursor:
    """A position in an encoding. All methods raise CmsError (cms.damaged, cms.too_complex).

    ``strict`` demands DER lengths: definite and in the shortest form.
    """

    __slots__ = ("_budget", "_data", "_levels", "_limit", "_strict", "_view", "position")

    def __init__(self, data: Octets, *, strict: bool = False) -> None:
        self._data = data
        self._view = data if isinstance(data, memoryview) else memoryview(data)
        self._limit = len(data)
        self._levels: list[tuple[int, bool]] = []  # (limit outside, whether we are in indefinite)
        self._strict = strict
        self._budget = ELEMENT_LIMIT
        self.position = 0

    # ------------------------------------------------------------------ looking

    def at_end(self) -> bool:
        """Whether the current level has no further element."""
        if self._levels and self._levels[-1][1]:
            position = self.position
            if position + 2 > self._limit:
                raise CmsError(DAMAGED)
            return self._data[position] == 0 and self._data[position + 1] == 0
        return self.position >= self._limit

    def peek(self) -> int:
        """The identifier octet of the next element, 0 at the end of the level."""
        return 0 if self.at_end() else self._data[self.position]

    def at(self, tag: int) -> bool:
        return self.peek() == tag

    # ------------------------------------------------------------------ reading

    def _header(self) -> tuple[int, int]:
        """``(identifier octet, length or INDEFINITE)``; the position moves to the contents."""
        data, position, limit = self._data, self.position, self._limit
        self._budget -= 1
        if self._budget < 0:
            raise CmsError(TOO_COMPLEX)
        if position + 2 > limit:
            raise CmsError(DAMAGED)
        tag, length = data[position], data[position + 1]
        position += 2
        if tag & 0x1F == 0x1F:  # high tag numbers occur nowhere in CMS
            raise CmsError(DAMAGED)
        if length >= 0x80:
            count = length & 0x7F
            if count == 0:
                if self._strict or not tag & CONSTRUCTED:
                    raise CmsError(DAMAGED)
                self.position = position
                return tag, INDEFINITE
            if count > 8 or position + count > limit:
                raise CmsError(DAMAGED)
            length = int.from_bytes(data[position : position + count], "big")
            if self._strict and (length < 0x80 or length >> 8 * (count - 1) == 0):
                raise CmsError(DAMAGED)
            position += count
        if position + length > limit:
            raise CmsError(DAMAGED)
        self.position = position
        return tag, length

    def enter(self, tag: int = der.SEQUENCE) -> None:
        """Step into the next element, which must have this (constructed) identifier octet."""
        if self.peek() != tag:
            raise CmsError(DAMAGED)
        if len(self._levels) >= DEPTH_LIMIT:
            raise CmsError(TOO_COMPLEX)
        _, length = self._header()
        self._levels.append((self._limit, length == INDEFINITE))
        if length != INDEFINITE:
            self._limit = self.position + length

    def leave(self) -> None:
        """Step out. Everything inside must have been read."""
        if not self.at_end():
            raise CmsError(DAMAGED)
        outside, indefinite = self._levels.pop()
        if indefinite:
            self.position += 2
        self._limit = outside

    def finish(self, *, padding: bool = False) -> None:
        """All was read: nothing may follow the outermost element.

        ``padding``: line ends and zero octets, which gateways append to attachments, may.
        """
        rest = self._view[self.position :]
        if self._levels or (rest and not padding):
            raise CmsError(DAMAGED)
        if len(rest) > 16 or bytes(rest).strip(b"\r\n\0"):
            raise CmsError(DAMAGED)

    def skip(self) -> None:
        """Go past the next element whatever it is."""
        if self.at_end():
            raise CmsError(DAMAGED)
        _, length = self._header()
        if length != INDEFINITE:
            self.position += length
            return
        data, depth = self._data, 1
        while depth:
            position = self.position
            if position + 2 > self._limit:
                raise CmsError(DAMAGED)
            if data[position] == 0 and data[position + 1] == 0:
                self.position += 2
                depth -= 1
                continue
            _, length = self._header()
            if length != INDEFINITE:
                self.position += length
            elif (depth := depth + 1) > DEPTH_LIMIT:
                raise CmsError(TOO_COMPLEX)

    def raw(self, tag: int | None = None) -> bytes:
        """The next element as it stands in the source, identifier and length included."""
        if tag is not None and self.peek() != tag:
            raise CmsError(DAMAGED)
        start = self.position
        self.skip()
        return bytes(self._view[start : self.position])

    def value(self, tag: int) -> bytes:
        """The contents of the next element, which must be primitive or of definite length."""
        if self.peek() != tag:
            raise CmsError(DAMAGED)
        _, length = self._header()
        if length == INDEFINITE:
            raise CmsError(DAMAGED)
        start = self.position
        self.position += length
        return bytes(self._view[start : self.position])

    def chunks(self, tag: int = der.OCTET_STRING) -> list[memoryview]:
        """The pieces of an OCTET STRING (or [n] IMPLICIT one): one when primitive (X.690 §8.7)."""
        first = self.peek()
        if first == tag:
            _, length = self._header()
            start = self.position
            self.position += length
            return [self._view[start : self.position]]
        if first != tag | CONSTRUCTED:
            raise CmsError(DAMAGED)
        found: list[memoryview] = []
        depth = len(self._levels)
        self.enter(first)
        while len(self._levels) > depth:
            following = self.peek()
            if following == der.OCTET_STRING:
                _, length = self._header()
                start = self.position
                self.position += length
                found.append(self._view[start : self.position])
            elif following == der.OCTET_STRING | CONSTRUCTED:
                self.enter(following)
            else:
                self.leave()  # refuses anything that is not the end
        return found

    def octets(self, tag: int = der.OCTET_STRING) -> bytes:
        """The value of an OCTET STRING, joined."""
        return b"".join(self.chunks(tag))

    def integer(self) -> int:
        body = self.value(der.INTEGER)
        if not body:
            raise CmsError(DAMAGED)
        return int.from_bytes(body, "big", signed=True)

    def small_integer(self) -> int:
        """An INTEGER that counts something: versions, salt lengths. 0 to 2^31."""
        number = self.integer()
        if not 0 <= number < 2**31:
            raise CmsError(DAMAGED)
        return number

    def oid(self) -> str:
        return dotted(self.value(der.OBJECT_IDENTIFIER))

    def algorithm(self) -> Algorithm:
        """An AlgorithmIdentifier."""
        start = self.position
        self.enter()
        name = self.oid()
        parameters = b"" if self.at_end() else self.raw()
        self.leave()
        return Algorithm(name, parameters, bytes(self._view[start : self.position]))


class Algorithm:
    """An AlgorithmIdentifier as it stood in the source."""

    __slots__ = ("encoded", "name", "parameters")

    def __init__(self, name: str, parameters: bytes, encoded: bytes) -> None:
        self.name = name
        self.parameters = parameters
        """The element, or empty when absent."""
        self.encoded = encoded

    @property
    def bare(self) -> bool:
        """Parameters absent or NULL."""
        return self.parameters in (b"", der.NULL_VALUE)


@lru_cache(maxsize=1024)
def dotted(contents: bytes) -> str:
    """The dotted form of an OBJECT IDENTIFIER's contents. Raises CmsError."""
    if not contents or contents[-1] & 0x80 or len(contents) > 64:
        raise CmsError(DAMAGED)
    arcs: list[int] = []
    number = 0
    for octet in contents:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(number)
            number = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def is_der(data: Octets) -> bool:
    """Whether an encoding uses DER's lengths throughout: definite, shortest (X.690 §10.1).

    Looks into constructed elements; the order of sets is the caller's to check.
    """
    view = data if isinstance(data, memoryview) else memoryview(data)
    pending = [(view, 0)]
    try:
        while pending:
            part, depth = pending.pop()
            if depth > DEPTH_LIMIT:
                return False
            cursor = Cursor(part, strict=True)
            while not cursor.at_end():
                tag, length = cursor._header()
                start = cursor.position
                cursor.position += length
                if tag & CONSTRUCTED:
                    pending.append((part[start : cursor.position], depth + 1))
    except CmsError:
        return False
    return True


def milliseconds(encoded: bytes) -> int:
    """Milliseconds since the epoch of a UTCTime or GeneralizedTime element, UTC only.

    Seconds are required; a fraction is allowed in GeneralizedTime (RFC 3161 §2.4.2). Raises
    CmsError.
    """
    cursor = Cursor(encoded)
    tag = cursor.peek()
    text = cursor.value(tag).decode("ascii", "replace")
    try:
        if tag == der.UTC_TIME and len(text) == 13 and text.isascii() and text[:12].isdigit():
            year = int(text[:2])
            century = "19" if year >= 50 else "20"  # RFC 5280 §4.1.2.5.1
            text = century + text
        elif tag != der.GENERALIZED_TIME:
            raise ValueError
        if not text.endswith("Z") or not text[:14].isdigit() or len(text) > 32:
            raise ValueError
        fraction = text[14:-1]
        if fraction and (fraction[0] not in ".," or not fraction[1:].isdigit()):
            raise ValueError
        # Not strptime: it imports a module at its first use, which a sandboxed agent cannot.
        month, day, hour, minute, second = (int(text[i : i + 2]) for i in range(4, 14, 2))
        at = datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC)
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        whole = (at - epoch) // timedelta(milliseconds=1)
        return whole + int(fraction[1:4].ljust(3, "0")) if fraction else whole
    except ValueError as error:
        raise CmsError(DAMAGED) from error
