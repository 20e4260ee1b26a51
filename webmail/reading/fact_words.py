"""One sentence for every code that a fact of a verdict may carry (``protocol.FACT_CODES``).

``%(name)s`` takes the fact's parameters; times come as milliseconds and are written as dates.
"""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

FACT_WORDS: Final[dict[str, str | Promise]] = {
    # --- the bytes, and the signature over them
    "digest.ok": _("The text is exactly what was signed."),
    "digest.two_contents": _(
        "The signature brings a second text, different from the one shown. Treat it as a forgery."
    ),
    "digest.no_content": _("The text that was signed is missing."),
    "digest.algorithm_unknown": _("The text was summed up by a method that is not known here."),
    "digest.algorithm_weak": _(
        "The text was summed up by an outdated method, which lets texts be exchanged."
    ),
    "digest.mismatch": _("The text was changed after it was signed."),
    "signature.ok": _("The signature was made with the key of this certificate."),
    "signature.no_certificate": _(
        "The mail does not bring the certificate it was signed with, and it is not known here."
    ),
    "signature.certificate_damaged": _("The certificate of the signature cannot be read."),
    "signature.algorithm_unknown": _("It was signed with a method that is not known here."),
    "signature.digest_weak": _("It was signed with an outdated method, which can be forged."),
    "signature.key_weak": _("The key it was signed with is too weak to prove anything today."),
    "signature.key_refused": _("The key it was signed with is of a kind that is not accepted."),
    "signature.key_mismatch": _("The kind of signature does not fit the key of the certificate."),
    "signature.attributes_not_der": _("The signed details are not written as the rules demand."),
    "signature.attributes": _("Signed details are missing, doubled or contradict each other."),
    "signature.content_type": _("The signature was made for another kind of content."),
    "signature.algorithm_protection": _(
        "The method named in the signature is not the one it was made with."
    ),
    "signature.signing_certificate": _(
        "The signature names another certificate than the one it came with."
    ),
    "signature.digest_rule": _("The signature combines methods that must not be combined."),
    "signature.invalid": _("The signature does not belong to this mail or to this certificate."),
    "signature.none": _("Nobody signed this mail."),
    "signature.other_signer_bad": _(
        "Several people signed this mail, and not all of their signatures hold."
    ),
    "signature.time_in_future": _(
        "By the sender's own clock it was signed on %(claimed)s, after it was already here "
        "(%(known)s)."
    ),
    # --- the signed part
    "root.whole": _("The signature covers the whole mail."),
    "root.partial": _("Only a part of this mail is signed; the rest could come from anybody."),
    # --- the sender's address
    "address.match": _("The certificate names the sender's address %(address)s."),
    "address.match_case": _("The certificate names the sender's address, spelled %(certificate)s."),
    "address.mismatch": _(
        "Signed by someone else: the mail is from %(address)s, the certificate is for "
        "%(certificate)s."
    ),
    "address.subject_only": _(
        "The certificate names %(address)s only in its title, where it is not checked by everybody."
    ),
    "address.none_in_certificate": _("The certificate names no address at all."),
    "address.no_from": _("The mail names no sender to compare with."),
    "address.several_from": _("The mail names several senders; one signature cannot be for all."),
    "address.not_asked": _("No address was to be compared."),
    # --- the certificate
    "certificate.damaged": _("The certificate cannot be read."),
    "certificate.missing": _(
        "The mail does not bring the certificate it was signed with, and it is not known here."
    ),
    "certificate.name_injection": _(
        "The certificate holds a name built to look like another one. Do not trust it."
    ),
    # --- its chain
    "chain.trusted": _("An authority trusted here vouches for the certificate."),
    "chain.trusted_then": _(
        "The certificate was valid when the mail was signed; it has expired since."
    ),
    "chain.pinned": _("You accepted this certificate yourself."),
    "chain.signature": _("The certificate was not signed by the authority it names."),
    "chain.self_signed": _(
        "The certificate was made by its owner; no authority vouches for it. "
        "If you know the owner, compare the fingerprint and accept it."
    ),
    "chain.issuer_unknown": _(
        "The authority %(issuer)s, which issued the certificate, is not known here. "
        "Ask your administrator whether it should be trusted."
    ),
    "chain.expired": _("The certificate of %(certificate)s expired on %(not_after)s."),
    "chain.not_yet_valid": _(
        "The certificate of %(certificate)s is valid only from %(not_before)s."
    ),
    "chain.not_a_ca": _("%(certificate)s is in the chain, but may not issue certificates."),
    "chain.path_length": _("The chain is longer than %(certificate)s allows."),
    "chain.policy": _("The chain breaks the rules (policies) of one of its authorities."),
    "chain.name_constraint": _("The authority may not issue certificates for this address."),
    "chain.unknown_critical": _(
        "The certificate of %(certificate)s demands something that is not understood here."
    ),
    "chain.wrong_usage": _("The certificate of %(certificate)s is not meant for mail."),
    "chain.wrong_key_usage": _("The key of %(certificate)s is not meant for signing mail."),
    "chain.wrong_issuer_usage": _("The authority %(certificate)s may not vouch for mail."),
    "chain.weak_key": _("The key (%(key)s) is too weak to prove anything today."),
    "chain.key_too_large": _("The key (%(key)s) is too large to be checked here."),
    "chain.weak_hash": _("The certificate relies on %(hash)s, which can be forged today."),
    "chain.algorithm_unknown": _("The certificate uses a method that is not supported here."),
    "chain.too_complex": _("The certificates of this mail are too many or too complex to check."),
    # --- revocation
    "revocation.good": _("The certificate was not withdrawn (looked up %(made)s)."),
    "revocation.later": _("The certificate was withdrawn only later, on %(at)s."),
    "revocation.revoked": _("The certificate of %(certificate)s was withdrawn on %(at)s."),
    "revocation.anchor": _("The certificate is itself trusted here; there is nobody to ask."),
    "revocation.not_needed": _("The certificate is so short-lived that it is never withdrawn."),
    "revocation.not_fetched": _(
        "Whether the certificate was withdrawn is being looked up. Look again in a moment."
    ),
    "revocation.no_source": _(
        "The certificate does not say where to ask whether it was withdrawn."
    ),
    "revocation.crl_stale": _("The list of withdrawn certificates is out of date."),
    "revocation.crl_signature": _("The list of withdrawn certificates is not genuine."),
    "revocation.crl_issuer": _("The list of withdrawn certificates comes from somebody else."),
    "revocation.crl_damaged": _("The list of withdrawn certificates cannot be read."),
    "revocation.crl_unsupported": _(
        "The list of withdrawn certificates uses a form that is not supported here."
    ),
    "revocation.crl_future": _("The list of withdrawn certificates is dated in the future."),
    "revocation.crl_partial": _("The list of withdrawn certificates covers only a part of them."),
    "revocation.crl_scope": _("The list of withdrawn certificates is not about this one."),
    "revocation.crl_after_expiry": _(
        "The list of withdrawn certificates was made after the certificate expired."
    ),
    "revocation.ocsp_stale": _("The authority's answer about the certificate is out of date."),
    "revocation.ocsp_signature": _("The authority's answer about the certificate is not genuine."),
    "revocation.ocsp_responder": _("The answer about the certificate comes from somebody else."),
    "revocation.ocsp_unknown": _("The authority says that it does not know this certificate."),
    "revocation.ocsp_future": _("The authority's answer about the certificate is of the future."),
    "revocation.ocsp_refused": _("The authority did not answer about the certificate."),
    "revocation.ocsp_other": _("The authority's answer is about another certificate."),
    "revocation.ocsp_damaged": _("The authority's answer about the certificate cannot be read."),
    "revocation.ocsp_unsupported": _(
        "The authority's answer uses a form that is not supported here."
    ),
    "revocation.ocsp_after_expiry": _(
        "The authority's answer was made after the certificate expired."
    ),
    # --- time
    "time.proven": _("%(tsa)s certified that the signature existed on %(time)s."),
    "time.none": _("Nobody certified the time; the time shown is when the mail arrived here."),
    "token.ok": _("The time stamp belongs to this signature."),
    "token.damaged": _("The time stamp cannot be read."),
    "token.imprint": _("The time stamp belongs to another signature."),
    "token.signature": _("The signature of the time stamp does not hold."),
    "token.usage": _("The time stamp was not made by a timestamp authority."),
    "time.future": _("The time stamp names a time that is still to come."),
    "time.untrusted": _("The authority of the time stamp (%(tsa)s) is not trusted here."),
    "time.revoked": _("The certificate of the timestamp authority %(tsa)s was withdrawn."),
    "time.revocation_unknown": _(
        "Whether the certificate of the timestamp authority %(tsa)s was withdrawn is not known."
    ),
}
