"""Judge one certificate: may it be used now, for this address? Needs no key."""

from __future__ import annotations

from typing import Any

from crypto_agent.protocol import ErrorCode, ProtocolError
from crypto_agent.trust import verdict

PURPOSES = ("sign", "encrypt")


def judge_certificate(context: object, payload: dict[str, Any]) -> dict[str, Any]:
    """See :func:`crypto_agent.trust.verdict.judge_certificate`.

    ``payload``: ``certificate`` (DER), ``chain`` (list of DER), ``trust`` (TrustMaterial),
    ``address`` (text or None), ``purpose`` ("sign" or "encrypt"), ``now`` (ms). What is wrong with
    the certificate is in the result; ProtocolError (bad_request) is for a malformed payload only.
    """
    certificate, now = payload.get("certificate"), payload.get("now")
    address, purpose = payload.get("address"), payload.get("purpose")
    trust = payload.get("trust") or {}
    if (
        not isinstance(certificate, bytes)
        or not isinstance(now, int)
        or not (address is None or isinstance(address, str))
        or purpose not in PURPOSES
        or not isinstance(trust, dict)
    ):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "judge_certificate")
    return verdict.judge_certificate(
        certificate,
        chain=verdict.octets(payload.get("chain")),
        trust=verdict.TrustMaterial.from_payload(trust),
        address=address,
        purpose=str(purpose),
        now=now,
    )
