"""Compressed content, and bombs."""

from __future__ import annotations

import zlib

import pytest

from crypto_agent.cms import der, oids
from crypto_agent.cms.compressed import RATIO_FLOOR, decompress
from crypto_agent.cms.content_info import content_info
from crypto_agent.cms.errors import DAMAGED, TOO_COMPLEX, UNSUPPORTED, CmsError
from tests.cms import forge

MAIL = b"Content-Type: text/plain\r\n\r\n" + b"The same line again.\r\n" * 40


def compressed(octets: bytes, *, algorithm: str = oids.ZLIB_COMPRESS) -> bytes:
    return content_info(
        oids.COMPRESSED_DATA,
        [
            der.sequence(
                der.integer(0),
                der.algorithm(algorithm),
                der.sequence(der.oid(oids.DATA), der.explicit(0, der.octet_string(octets))),
            )
        ],
    )


def refusal(message: bytes, **options: int) -> str:
    with pytest.raises(CmsError) as refused:
        decompress(message, **options)
    return refused.value.code


def test_content_is_read_whole_and_in_pieces() -> None:
    message = compressed(zlib.compress(MAIL))
    assert decompress(message).content == MAIL
    levels = {(), (1,), (1, 0), (1, 0, 2), (1, 0, 2, 1)}
    streamed = forge.to_indefinite(message, levels, {(1, 0, 2, 1, 0): [1, 2, 30]})
    assert decompress(streamed).content == MAIL


def test_a_bomb_stops_before_the_memory_is_full() -> None:
    bomb = zlib.compress(bytes(200 * 1024 * 1024), 9)
    assert refusal(compressed(bomb)) == TOO_COMPLEX
    in_pieces = forge.to_indefinite(
        compressed(bomb),
        {(), (1,), (1, 0), (1, 0, 2), (1, 0, 2, 1)},
        {(1, 0, 2, 1, 0): list(range(0, len(bomb), 1000))},
    )
    assert refusal(in_pieces) == TOO_COMPLEX


def test_the_cap_is_met_exactly() -> None:
    content = bytes(RATIO_FLOOR)
    assert decompress(compressed(zlib.compress(content))).content == content
    assert refusal(compressed(zlib.compress(content + b"x"))) == TOO_COMPLEX
    assert decompress(compressed(zlib.compress(MAIL)), limit=len(MAIL)).content == MAIL
    assert refusal(compressed(zlib.compress(MAIL)), limit=len(MAIL) - 1) == TOO_COMPLEX


def test_broken_streams_and_other_algorithms_are_refused() -> None:
    octets = zlib.compress(MAIL)
    assert refusal(compressed(octets[:-3])) == DAMAGED
    assert refusal(compressed(b"garbage")) == DAMAGED
    assert refusal(compressed(octets, algorithm="1.2.3")) == UNSUPPORTED
    assert refusal(der.sequence()) == DAMAGED
