"""Small structures read through asn1crypto: the only module of the agent that knows that library.

asn1crypto parses lazily and raises late, so every function here asks for all values it returns and
turns whatever goes wrong into CmsError. Sizes are capped first: it is quick only on small things.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from asn1crypto import algos, core, tsp

from crypto_agent.cms import oids
from crypto_agent.cms.errors import DAMAGED, TOO_COMPLEX, UNSUPPORTED, CmsError
from crypto_agent.cms.keys import OaepParameters

SIZE_LIMIT: Final = 64 * 1024
"""Octets. A TSTInfo with a long policy and name has about 500."""

P = ParamSpec("P")
R = TypeVar("R")


def _guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Any exception of the library means: not the structure it claims to be."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if args and isinstance(args[0], bytes) and len(args[0]) > SIZE_LIMIT:
            raise CmsError(TOO_COMPLEX)
        try:
            return function(*args, **kwargs)
        except CmsError:
            raise
        except Exception as error:
            raise CmsError(DAMAGED) from error

    return call


@dataclass(frozen=True)
class PssParameters:
    """RSASSA-PSS-params (RFC 4055 §3.1); hash names as in hashlib."""

    hash: str
    mgf_hash: str
    salt: int


def _digest(identifier: Any) -> str:
    name = oids.DIGESTS.get(identifier["algorithm"].dotted)
    if name is None:
        raise CmsError(UNSUPPORTED)
    return name


def _mgf1(generator: Any) -> str:
    if generator["algorithm"].dotted != oids.MGF1:
        raise CmsError(UNSUPPORTED)
    return _digest(generator["parameters"])


@_guarded
def pss_parameters(encoded: bytes) -> PssParameters:
    """``encoded``: the parameters element. All fields default (to SHA-1 and salt 20)."""
    value = algos.RSASSAPSSParams.load(encoded, strict=True)
    # RFC 4055 §3.1: trailerField MUST be 1
    if value["trailer_field"].native not in (1, "trailer_field_bc"):
        raise CmsError(UNSUPPORTED)
    salt = int(value["salt_length"].native)
    if not 0 <= salt <= 1024:
        raise CmsError(UNSUPPORTED)
    return PssParameters(_digest(value["hash_algorithm"]), _mgf1(value["mask_gen_algorithm"]), salt)


@_guarded
def oaep_parameters(encoded: bytes) -> OaepParameters:
    """``encoded``: the parameters element, or empty: absent means all defaults, which are SHA-1
    (RFC 4055 §4.1)."""
    value = algos.RSAESOAEPParams.load(encoded or b"\x30\x00", strict=True)
    source = value["p_source_algorithm"]
    if source["algorithm"].dotted != oids.P_SPECIFIED:
        raise CmsError(UNSUPPORTED)
    label = bytes(source["parameters"].native or b"")
    return OaepParameters(
        _digest(value["hash_algorithm"]), _mgf1(value["mask_gen_algorithm"]), label
    )


@dataclass(frozen=True)
class TimestampRequest:
    """TimeStampReq (RFC 3161 §2.4.1)."""

    version: int
    digest: str
    """Dotted OID."""
    digest_parameters: bool
    """Whether the imprint's algorithm has parameters other than NULL."""
    imprint: bytes
    policy: str
    nonce: int | None
    certificate_wanted: bool
    extensions: bool


@_guarded
def timestamp_request(encoded: bytes) -> TimestampRequest:
    value = tsp.TimeStampReq.load(encoded, strict=True)
    imprint = value["message_imprint"]
    nonce = value["nonce"].native
    policy = value["req_policy"]
    return TimestampRequest(
        version={"v1": 1}.get(value["version"].native, 0),
        digest=imprint["hash_algorithm"]["algorithm"].dotted,
        digest_parameters=imprint["hash_algorithm"]["parameters"].native is not None,
        imprint=bytes(imprint["hashed_message"].native),
        policy="" if isinstance(policy, core.Void) else policy.dotted,
        nonce=None if nonce is None else int(nonce),
        certificate_wanted=bool(value["cert_req"].native),
        extensions=value["extensions"].native is not None,
    )


@dataclass(frozen=True)
class TimestampInfo:
    """TSTInfo (RFC 3161 §2.4.2)."""

    version: int
    policy: str
    digest: str
    """Dotted OID of the imprint's algorithm."""
    imprint: bytes
    serial: int
    gen_time: bytes
    """The GeneralizedTime element as it stands: read by tlv.milliseconds."""
    accuracy_ms: int | None
    nonce: int | None


@_guarded
def timestamp_info(encoded: bytes) -> TimestampInfo:
    value = tsp.TSTInfo.load(encoded, strict=True)
    imprint = value["message_imprint"]
    accuracy = value["accuracy"]
    spread: int | None = None
    if not isinstance(accuracy, core.Void):
        seconds, millis, micros = (
            accuracy[name].native for name in ("seconds", "millis", "micros")
        )
        # rounded up: an accuracy never claims more than it has
        spread = int(seconds or 0) * 1000 + int(millis or 0) + (1 if micros else 0)
    nonce = value["nonce"].native
    return TimestampInfo(
        version={"v1": 1}.get(value["version"].native, 0),
        policy=value["policy"].dotted,
        digest=imprint["hash_algorithm"]["algorithm"].dotted,
        imprint=bytes(imprint["hashed_message"].native),
        serial=int(value["serial_number"].native),
        gen_time=bytes(value["gen_time"].dump()),
        accuracy_ms=spread,
        nonce=None if nonce is None else int(nonce),
    )
