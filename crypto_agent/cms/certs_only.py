"""Reading certificates that were handed over as a SignedData without signers (RFC 8551 §3.8)."""

from __future__ import annotations

from crypto_agent.cms.tlv import Octets
from crypto_agent.cms.verify import read_bag


def read(data: Octets) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """``(certificates, CRLs)``, DER each, of a ``certs-only`` message or a ``.p7c`` file.

    Nothing about them is checked. Raises CmsError (cms.damaged, cms.too_complex, cms.unsupported).
    """
    return read_bag(data)
