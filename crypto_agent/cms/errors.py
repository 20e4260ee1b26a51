"""The one exception of this package. Its code is stable; it never carries content."""

from __future__ import annotations

from typing import Final

DAMAGED: Final = "cms.damaged"
"""Not the structure it claims to be: truncated, wrong tags, lengths that do not add up."""
TOO_COMPLEX: Final = "cms.too_complex"
"""A cap was reached before any work was done (signers, certificates, recipients, nesting)."""
UNSUPPORTED: Final = "cms.unsupported"
"""Well-formed, but uses a version, content type or algorithm that is not on our allow-list."""
NO_KEY: Final = "decrypt.no_key"
"""No recipient entry belongs to any of the keys given."""
DECRYPT_FAILED: Final = "decrypt.failed"
"""The one answer for every other way in which opening fails (RFC 5652 §14, RFC 3218 §2.3)."""
CERTIFICATE: Final = "certificate.refused"
"""A certificate that we were asked to use is damaged or has a key of an unknown kind."""


class CmsError(Exception):
    """``code`` is one of the constants of this module."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
