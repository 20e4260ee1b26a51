"""Content encryption: an allow-list of ciphers, and their application to chunked content.

Parameters are read and refused before any key is touched, so that what depends on a key has one
way to fail. No plaintext leaves before the tag was checked (RFC 5083 §4, RFC 5084 §3).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.decrepit.ciphers.algorithms import RC2, TripleDES
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crypto_agent.cms import der, oids
from crypto_agent.cms.errors import DAMAGED, UNSUPPORTED, CmsError
from crypto_agent.cms.tlv import Algorithm, Cursor, Octets

TAG_MINIMUM: Final = 12
"""Octets (RFC 5084 §3.2: 12 to 16). A one-octet tag is guessed in 256 tries (CVE-2026-34182)."""
TAG_DEFAULT: Final = 12
"""aes-ICVlen DEFAULT 12: what an absent field means (RFC 5084 §3.2)."""
TAG_MAXIMUM: Final = 16

_AES_BLOCK: Final = 16
_HKDF_SALT: Final = b"The Cryptographic Message Syntax"  # RFC 9709 §2

_CBC: Final[dict[str, tuple[str, int, Callable[[bytes], Any], int, bool]]] = {
    # OID: (name, key octets, pyca's algorithm, block octets, weak)
    oids.AES_128_CBC: ("AES-128-CBC", 16, algorithms.AES, 16, False),
    oids.AES_192_CBC: ("AES-192-CBC", 24, algorithms.AES, 16, False),
    oids.AES_256_CBC: ("AES-256-CBC", 32, algorithms.AES, 16, False),
    oids.DES_EDE3_CBC: ("3DES-CBC", 24, TripleDES, 8, True),
}
_GCM: Final = {
    oids.AES_128_GCM: ("AES-128-GCM", 16),
    oids.AES_192_GCM: ("AES-192-GCM", 24),
    oids.AES_256_GCM: ("AES-256-GCM", 32),
}
_CCM: Final = {
    oids.AES_128_CCM: ("AES-128-CCM", 16),
    oids.AES_192_CCM: ("AES-192-CCM", 24),
    oids.AES_256_CCM: ("AES-256-CCM", 32),
}
_RC2_EFFECTIVE: Final = {58: 16}
"""rc2ParameterVersion to key octets (RFC 3370 §5.2); 40 and 64 bits can be broken in minutes and
are not offered by the library: not even for reading."""


@dataclass(frozen=True)
class ContentCipher:
    """A cipher with its parameters, ready for a key."""

    name: str
    key_size: int
    """Octets."""
    authenticated: bool
    weak: bool
    tag_size: int
    """Octets of the mac field; 0 when not authenticated."""
    derived: bytes
    """The inner AlgorithmIdentifier when the key is derived per RFC 9709, else empty."""
    _decrypt: Callable[[bytes, Sequence[memoryview], bytes, bytes], bytes]

    def decrypt(
        self, key: bytes, chunks: Sequence[memoryview], *, tag: bytes = b"", aad: bytes = b""
    ) -> bytes:
        """The plaintext. Raises anything when key, tag or padding are wrong."""
        if self.derived:
            key = derive_key(key, self.derived)
        return self._decrypt(key, chunks, tag, aad)


def derive_key(key: bytes, algorithm: bytes) -> bytes:
    """CEK-HKDF (RFC 9709 §2): the key depends on the cipher that the sender named."""
    return HKDF(hashes.SHA256(), len(key), _HKDF_SALT, algorithm).derive(key)


def cipher_of(algorithm: Algorithm) -> ContentCipher:
    """The cipher that a contentEncryptionAlgorithm names.

    Raises CmsError (unsupported, damaged).
    """
    derived = b""
    if algorithm.name == oids.CEK_HKDF_SHA256:
        inner = Cursor(algorithm.parameters)
        algorithm = inner.algorithm()
        inner.finish()
        derived = algorithm.encoded
        if algorithm.name == oids.CEK_HKDF_SHA256:
            raise CmsError(UNSUPPORTED)
    cursor = Cursor(algorithm.parameters)
    if known := _CBC.get(algorithm.name):
        name, key_size, primitive, block, weak = known
        vector = _exactly(cursor.value(der.OCTET_STRING), block)
        cursor.finish()
        return _cbc(name, key_size, primitive, block, weak, vector, derived)
    if algorithm.name == oids.RC2_CBC:
        cursor.enter()
        effective = cursor.small_integer()
        vector = _exactly(cursor.value(der.OCTET_STRING), 8)
        cursor.leave()
        cursor.finish()
        if effective not in _RC2_EFFECTIVE:
            raise CmsError(UNSUPPORTED)
        return _cbc("RC2-128-CBC", _RC2_EFFECTIVE[effective], RC2, 8, True, vector, derived)
    if algorithm.name in _GCM or algorithm.name in _CCM:
        cursor.enter()
        nonce = cursor.value(der.OCTET_STRING)
        size = TAG_DEFAULT if cursor.at_end() else cursor.small_integer()
        cursor.leave()
        cursor.finish()
        return _aead(algorithm.name, nonce, size, derived)
    if algorithm.name == oids.CHACHA20_POLY1305:
        nonce = _exactly(cursor.value(der.OCTET_STRING), 12)  # RFC 8103 §3
        cursor.finish()

        def decrypt(key: bytes, chunks: Sequence[memoryview], tag: bytes, aad: bytes) -> bytes:
            return ChaCha20Poly1305(key).decrypt(nonce, b"".join((*chunks, tag)), aad or None)

        return ContentCipher("ChaCha20-Poly1305", 32, True, False, 16, derived, decrypt)
    raise CmsError(UNSUPPORTED)


def _exactly(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise CmsError(DAMAGED)
    return value


def _cbc(
    name: str,
    key_size: int,
    primitive: Callable[[bytes], Any],
    block: int,
    weak: bool,
    vector: bytes,
    derived: bytes,
) -> ContentCipher:
    def decrypt(key: bytes, chunks: Sequence[memoryview], tag: bytes, aad: bytes) -> bytes:
        work = Cipher(primitive(key), modes.CBC(vector)).decryptor()
        plain, size = _update_all(work, chunks, block)
        work.finalize()
        unpadder = padding.PKCS7(block * 8).unpadder()
        last = unpadder.update(plain[size - block : size]) + unpadder.finalize()
        return bytes(plain[: size - block + len(last)])

    return ContentCipher(name, key_size, False, weak, 0, derived, decrypt)


def _aead(algorithm: str, nonce: bytes, tag_size: int, derived: bytes) -> ContentCipher:
    if not TAG_MINIMUM <= tag_size <= TAG_MAXIMUM:
        raise CmsError(UNSUPPORTED)
    if algorithm in _GCM:
        # SP 800-38D allows more; nonces of 8 to 128 octets are what the library takes
        if not 8 <= len(nonce) <= 128:
            raise CmsError(UNSUPPORTED)

        def gcm(key: bytes, chunks: Sequence[memoryview], tag: bytes, aad: bytes) -> bytes:
            mode = modes.GCM(nonce, tag, min_tag_length=tag_size)
            work = Cipher(algorithms.AES(key), mode).decryptor()
            work.authenticate_additional_data(aad)
            plain, size = _update_all(work, chunks, _AES_BLOCK)
            work.finalize()  # raises InvalidTag: until here nothing has left this function
            return bytes(plain[:size])

        name, key_size = _GCM[algorithm]
        return ContentCipher(name, key_size, True, False, tag_size, derived, gcm)

    if not 7 <= len(nonce) <= 13 or tag_size % 2:  # RFC 5084 §3.1
        raise CmsError(UNSUPPORTED)

    def ccm(key: bytes, chunks: Sequence[memoryview], tag: bytes, aad: bytes) -> bytes:
        whole = b"".join((*chunks, tag))
        return AESCCM(key, tag_length=tag_size).decrypt(nonce, whole, aad or None)

    name, key_size = _CCM[algorithm]
    return ContentCipher(name, key_size, True, False, tag_size, derived, ccm)


def _update_all(work: Any, chunks: Sequence[memoryview], block: int) -> tuple[memoryview, int]:
    """Run all chunks through ``work`` into one buffer; ``(buffer, octets written)``."""
    plain = memoryview(bytearray(sum(map(len, chunks)) + block))
    size = 0
    for chunk in chunks:
        size += work.update_into(chunk, plain[size:])
    return plain, size


# --------------------------------------------------------------------------- writing


@dataclass(frozen=True)
class Sealed:
    """Encrypted content and what its readers must know."""

    algorithm: bytes
    """contentEncryptionAlgorithm."""
    pieces: der.Pieces
    tag: bytes


def seal(content: Octets, key: bytes, name: str, *, derived: bool) -> Sealed:
    """Encrypt with ``aes-256-cbc`` or ``aes-256-gcm`` under a key that is used this once.

    ``derived``: per RFC 9709, for readers who announced it.
    """
    if name == "aes-256-gcm":
        nonce = secrets.token_bytes(12)
        inner = der.algorithm(
            oids.AES_256_GCM, der.sequence(der.octet_string(nonce), der.integer(TAG_MAXIMUM))
        )
    elif name == "aes-256-cbc":
        vector = secrets.token_bytes(_AES_BLOCK)
        inner = der.algorithm(oids.AES_256_CBC, der.octet_string(vector))
    else:
        raise CmsError(UNSUPPORTED)
    algorithm = inner
    if derived:
        key, algorithm = derive_key(key, inner), der.algorithm(oids.CEK_HKDF_SHA256, inner)
    if name == "aes-256-gcm":
        gcm = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        pieces = [gcm.update(content), gcm.finalize()]
        return Sealed(algorithm, pieces, gcm.tag)
    view = memoryview(content)
    whole = len(view) - len(view) % _AES_BLOCK
    fill = _AES_BLOCK - (len(view) - whole)  # RFC 5652 §6.3: 1 to 16 octets
    cbc = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
    last = bytes(view[whole:]) + bytes((fill,)) * fill
    return Sealed(algorithm, [cbc.update(view[:whole]), cbc.update(last), cbc.finalize()], b"")
