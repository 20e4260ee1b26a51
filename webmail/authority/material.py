"""What others need to judge certificates of our own authority."""

from __future__ import annotations

from webmail.authority import lists
from webmail.authority.models import AuthorityCertificate

Kind = AuthorityCertificate.Kind


def anchors() -> list[bytes]:
    """Our own roots, DER."""
    return [bytes(row.der) for row in AuthorityCertificate.objects.filter(kind=Kind.ROOT)]


def material() -> dict[str, list[bytes]]:
    """``{"anchors", "intermediates", "crls"}`` of our own authority, DER: part of TrustMaterial."""
    rows = list(AuthorityCertificate.objects.exclude(kind=Kind.POSTMASTER))
    newest = [lists.current(row) for row in rows if row.which]
    return {
        "anchors": [bytes(row.der) for row in rows if row.kind == Kind.ROOT],
        "intermediates": [bytes(row.der) for row in rows if row.kind != Kind.ROOT],
        "crls": [bytes(one.der) for one in newest if one is not None],
    }
