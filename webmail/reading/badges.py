"""Verdicts in words. Words come first, shape and colour second; nothing here is praise for safety.

The identity line says who wrote, in the words of the certificate; the time line says when; the
protection line says what was done to the mail. A broken signature is no better than none, and
red is kept for failures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from webmail.certificates.history import History
from webmail.message import addresses
from webmail.reading.fact_words import FACT_WORDS

CALM: Final = "calm"
NEUTRAL: Final = "neutral"
AMBER: Final = "amber"
RED: Final = "red"

TIME_DIFFERENCE_SECONDS: Final = 300
"""Certified and received time are both shown when they lie further apart."""

Word = str | Promise


@dataclass(frozen=True)
class Identity:
    """The identity line."""

    state: str
    """"verified", "first", "unverified", "failed", "expected", "unsigned", "locked"."""
    tone: str
    glyph: str
    """Name of the symbol: seal, seal-outline, warning, cross, none, lock."""
    headline: str
    name: str = ""
    """From the certificate; empty unless verified."""
    organisation: str = ""
    country: str = ""
    address: str = ""
    level: str = ""
    level_words: str = ""
    continuity: str = ""
    explanation: str = ""
    """Why it is not verified, and what to do."""
    may_collapse: bool = True
    """False for amber and red: those lines are never hidden."""


@dataclass(frozen=True)
class TimeLine:
    """When, in words; certified and received time when they differ."""

    words: str
    certified: datetime | None = None
    authority: str = ""
    received: datetime | None = None
    claimed: datetime | None = None
    differs: bool = False


@dataclass(frozen=True)
class FactLine:
    """One of the five facts, or the time fact, with its reason."""

    key: str
    title: str
    result: str
    """"passed", "failed", "unknown"."""
    result_words: str
    sentence: str
    code: str = ""


@dataclass(frozen=True)
class Notice:
    """A sentence above the mail."""

    code: str
    tone: str
    sentence: str


# --------------------------------------------------------------------------- levels

LEVEL_WORDS: Final[dict[str, Word]] = {
    "V1": gettext_lazy("address checked"),
    "V2": gettext_lazy("person checked"),
    "V3": gettext_lazy("organisation checked"),
    "V4": gettext_lazy("organisation and person checked"),
}
"""Identity levels of the CA/Browser Forum S/MIME requirements, policies 2.23.140.1.5.1 to .4."""

LEVEL_CHIPS: Final[dict[str, Word]] = {
    "V1": gettext_lazy("Address"),
    "V2": gettext_lazy("Person"),
    "V3": gettext_lazy("Organisation"),
    "V4": gettext_lazy("Organisation + person"),
}
"""The same, short enough for a list row."""


def level_words(signer: Mapping[str, Any]) -> str:
    """ "Organisation and person checked: HSBC Holdings plc (GB), by <issuer>"."""
    level = str(signer.get("level", ""))
    words = str(LEVEL_WORDS.get(level, LEVEL_WORDS["V1"]))
    organisation = str(signer.get("organisation") or "")
    country = str(signer.get("country") or "")
    if level in {"V3", "V4"} and organisation:
        place = f"{organisation} ({country})" if country else organisation
        words = f"{words}: {place}"
    issuer = str(signer.get("issuer") or "")
    if issuer:
        return _("%(what)s by %(issuer)s") % {"what": words, "issuer": issuer}
    return words


# --------------------------------------------------------------------------- facts

FACT_TITLES: Final[dict[str, Word]] = {
    "digest": gettext_lazy("The text is unchanged"),
    "signature": gettext_lazy("The signature is genuine"),
    "chain": gettext_lazy("The certificate can be trusted"),
    "address": gettext_lazy("The sender's address matches"),
    "root": gettext_lazy("The signature covers the whole mail"),
    "time": gettext_lazy("The time is certified"),
}

RESULT_WORDS: Final[dict[str, Word]] = {
    "passed": gettext_lazy("Yes"),
    "failed": gettext_lazy("No"),
    "unknown": gettext_lazy("Cannot tell"),
}


def fact_sentence(fact: Mapping[str, Any]) -> str:
    """The reason of a fact, in words. A code without words gets the general sentence."""
    words = FACT_WORDS.get(str(fact.get("code", "")))
    if words is None:
        general: dict[str, Word] = {
            "passed": gettext_lazy("Checked."),
            "failed": gettext_lazy("The check failed."),
            "unknown": gettext_lazy("This could not be checked."),
        }
        return str(general.get(str(fact.get("result")), general["unknown"]))
    return _filled(str(words), fact.get("params") or {})


def _filled(words: str, params: Mapping[str, Any]) -> str:
    """Put parameters in; a missing one leaves a dash, because a sentence must always come out."""

    class Values(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return "–"

    values = Values({str(key): _value(value) for key, value in params.items()})
    return words % values


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, int) and value > 10**11:  # milliseconds since the epoch
        return moment_words(moment(value))
    if isinstance(value, list | tuple):
        return ", ".join(_value(each) for each in value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def facts(verdict: Mapping[str, Any]) -> list[FactLine]:
    """The five facts in the order people ask, and the time fact when there is one."""
    lines = []
    found = dict(verdict.get("facts") or {})
    time_fact = (verdict.get("time") or {}).get("fact")
    if time_fact:
        found["time"] = time_fact
    for key in FACT_TITLES:
        fact = found.get(key)
        if not fact:
            continue
        result = str(fact.get("result", "unknown"))
        lines.append(
            FactLine(
                key=key,
                title=str(FACT_TITLES[key]),
                result=result,
                result_words=str(RESULT_WORDS.get(result, RESULT_WORDS["unknown"])),
                sentence=fact_sentence(fact),
                code=str(fact.get("code", "")),
            )
        )
    return lines


# --------------------------------------------------------------------------- identity


SHUT: Final = frozenset({"decrypt.failed", "decrypt.no_key", "decrypt.unsupported"})
"""Notices of a mail that stays closed, so that nothing inside it is known."""


def identity(
    verdict: Mapping[str, Any],
    *,
    sender: str,
    history: History,
    locked: bool = False,
    shut: bool = False,
) -> Identity:
    """The identity line for a verdict. ``sender`` is the From address as displayed. ``shut``: the
    mail could not be decrypted."""
    if locked:
        return Identity(
            state="locked",
            tone=NEUTRAL,
            glyph="lock",
            headline=_("Locked. Unlock to read, and to see who signed it."),
        )
    state = verdict["state"]
    signer = verdict.get("signer") or {}
    if state == "verified":
        return _verified(signer, sender=sender, history=history)
    if state == "failed":
        return Identity(
            state="failed",
            tone=RED,
            glyph="cross",
            headline=_failure(verdict),
            address=sender,
            explanation=_("Treat this mail as not signed. Ask the sender on another way."),
            may_collapse=False,
        )
    if state == "unverified":
        explanation = _first_doubt(verdict)
        if history.usually_signs:
            return _expected(sender, explanation)
        return Identity(
            state="unverified",
            tone=NEUTRAL,
            glyph="seal-outline",
            headline=_("Signed, but who signed it could not be checked"),
            address=sender,
            explanation=explanation,
        )
    if shut:
        return Identity(
            state="shut",
            tone=NEUTRAL,
            glyph="lock",
            headline=_("Could not be opened. Who wrote it is not known."),
            address=sender,
        )
    if history.usually_signs:
        return _expected(sender, "")
    return Identity(
        state="unsigned", tone=NEUTRAL, glyph="none", headline=_("Not signed"), address=sender
    )


def _verified(signer: Mapping[str, Any], *, sender: str, history: History) -> Identity:
    name = str(signer.get("name") or "")
    organisation = str(signer.get("organisation") or "")
    level = str(signer.get("level") or "V1")
    # An address-only certificate proves no name; what it may carry as one is not repeated.
    shown = name if level in {"V2", "V4"} and name else ""
    shown = shown or (organisation if level == "V3" else "") or sender
    if history.signed:
        continuity = ngettext(
            "as in %(count)d earlier message", "as in %(count)d earlier messages", history.signed
        ) % {"count": history.signed}
        if history.last_signer and history.last_signer != signer.get("fingerprint"):
            continuity = _("with a certificate not seen from this sender before")
        state, tone, glyph = "verified", CALM, "seal"
    else:
        continuity = _("first message from this signer")
        state, tone, glyph = "first", NEUTRAL, "seal-outline"
    return Identity(
        state=state,
        tone=tone,
        glyph=glyph,
        headline=_("Signed by %(who)s") % {"who": shown},
        name=name,
        organisation=organisation if level in {"V3", "V4"} else "",
        country=str(signer.get("country") or "") if level in {"V3", "V4"} else "",
        address=sender,
        level=level,
        level_words=level_words(signer),
        continuity=continuity,
    )


def _expected(sender: str, explanation: str) -> Identity:
    return Identity(
        state="expected",
        tone=AMBER,
        glyph="warning",
        headline=_("Not signed – this sender normally signs."),
        address=sender,
        explanation=" ".join(
            each
            for each in (
                explanation,
                _("Do not act on links or payment requests before checking."),
            )
            if each
        ),
        may_collapse=False,
    )


def _failure(verdict: Mapping[str, Any]) -> str:
    found = verdict.get("facts") or {}
    for key in ("digest", "signature", "chain", "address", "root"):
        fact = found.get(key) or {}
        if fact.get("result") == "failed":
            if key in {"digest", "signature"}:
                return _("Signature does not match this message")
            return fact_sentence(fact)
    if verdict.get("revocation") == "revoked":
        return _("The certificate of the signer was withdrawn.")
    return _("Signature does not match this message")


def _first_doubt(verdict: Mapping[str, Any]) -> str:
    found = verdict.get("facts") or {}
    for wanted in ("failed", "unknown"):
        for key in ("root", "address", "chain", "digest", "signature"):
            fact = found.get(key) or {}
            if fact.get("result") == wanted:
                return fact_sentence(fact)
    if verdict.get("revocation") == "unknown":
        return _("Whether the certificate was withdrawn could not be found out yet.")
    return ""


# --------------------------------------------------------------------------- time


def moment(milliseconds: int | None) -> datetime | None:
    """A time of the agent's as a datetime in UTC; None stays None."""
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def moment_words(value: datetime | None) -> str:
    """In the reader's zone and language, with the zone named."""
    if value is None:
        return _("an unknown time")
    local = timezone.localtime(value)
    return f"{formats.date_format(local, 'DATETIME_FORMAT')} {local.tzname() or ''}".strip()


def time_line(verdict: Mapping[str, Any]) -> TimeLine:
    """The line about when."""
    times = verdict.get("time") or {}
    certified = moment(times.get("proven"))
    received = moment(times.get("received"))
    claimed = moment(times.get("claimed"))
    if certified is None:
        words = _("Received %(when)s") % {"when": moment_words(received)} if received else ""
        return TimeLine(words=words, received=received, claimed=claimed)
    authority = str(times.get("tsa") or "")
    words = _("Time certified %(when)s by %(who)s") % {
        "when": moment_words(certified),
        "who": authority or _("a timestamp authority"),
    }
    differs = (
        received is not None
        and abs((received - certified).total_seconds()) > TIME_DIFFERENCE_SECONDS
    )
    if differs:
        words = _("%(certified)s · received %(received)s") % {
            "certified": words,
            "received": moment_words(received),
        }
    return TimeLine(
        words=words,
        certified=certified,
        authority=authority,
        received=received,
        claimed=claimed,
        differs=differs,
    )


# --------------------------------------------------------------------------- protection


def protection(verdict: Mapping[str, Any], *, shut: bool = False) -> list[str]:
    """The words of the protection line: "Signed by the sender", "Encrypted", "Timestamped"."""
    words: list[str] = []
    if verdict["state"] == "verified":
        words.append(_("Signed by the sender"))
    encryption = verdict.get("encryption") or {}
    if encryption.get("encrypted"):
        if shut:
            words.append(_("Encrypted"))
        elif encryption.get("weak"):
            words.append(_("Encrypted with an outdated method"))
        else:
            words.append(_("Sent encrypted to you"))
    if (verdict.get("time") or {}).get("proven"):
        words.append(_("Timestamped"))
    return words


# --------------------------------------------------------------------------- notices

_NOTICE_WORDS: Final[dict[str, tuple[str, Word]]] = {
    "decrypt.failed": (
        RED,
        gettext_lazy(
            "This mail is encrypted and could not be opened: it was damaged or changed on the way. "
            "Ask the sender to send it again."
        ),
    ),
    "decrypt.no_key": (
        AMBER,
        gettext_lazy(
            "This mail is encrypted to a certificate whose key is not here. "
            "Ask the sender to send it again, encrypted to your present certificate."
        ),
    ),
    "decrypt.locked": (
        NEUTRAL,
        gettext_lazy("This mail is encrypted. Unlock to read it."),
    ),
    "decrypt.unsupported": (
        AMBER,
        gettext_lazy(
            "This mail is encrypted with a method that is not supported here. "
            "Ask the sender to use another one, or save the mail as a file."
        ),
    ),
    "decrypt.unauthenticated": (
        AMBER,
        gettext_lazy(
            "This mail was encrypted without protection against changes. "
            "It is shown as text, and nothing is loaded from outside."
        ),
    ),
    "decrypt.mixed": (
        AMBER,
        gettext_lazy(
            "Only a part of this mail was encrypted. Each part is shown by itself, "
            "and a reply does not quote it."
        ),
    ),
    "signature.partial": (
        AMBER,
        gettext_lazy(
            "Only a part of this mail is signed. What is not signed could come from anybody."
        ),
    ),
    "signature.unreadable": (
        NEUTRAL,
        gettext_lazy("This mail carries a signature that cannot be read; it counts as not signed."),
    ),
    "certificates.only": (
        NEUTRAL,
        gettext_lazy("This mail carries certificates and no text."),
    ),
    "message.damaged": (
        AMBER,
        gettext_lazy(
            "This mail is not built correctly and cannot be shown. You can save it as a file."
        ),
    ),
    "message.too_complex": (
        AMBER,
        gettext_lazy(
            "This mail is built in too complex a way to be opened safely. "
            "You can save it as a file."
        ),
    ),
    "headers.from_mismatch": (
        RED,
        gettext_lazy(
            "The sender shown outside the sealed mail differs from the one inside. "
            "The outer one is shown; be careful."
        ),
    ),
    "sender.name_is_other_address": (
        AMBER,
        gettext_lazy(
            "The sender's name looks like the address %(name)s, but the mail is from %(address)s."
        ),
    ),
    "sender.several": (
        AMBER,
        gettext_lazy("This mail names several senders; no signature can vouch for all of them."),
    ),
    "signature.outside_encryption": (
        AMBER,
        gettext_lazy(
            "Somebody signed the closed envelope of this mail, not its text. "
            "It does not prove who wrote it."
        ),
    ),
    "signature.carried": (
        NEUTRAL,
        gettext_lazy("This mail was signed once more on its way, by %(name)s."),
    ),
    "signature.outer_failed": (
        AMBER,
        gettext_lazy(
            "A second signature, put on this mail on its way, does not match: "
            "something outside of the sender's own signature was changed."
        ),
    ),
    "html.cut": (
        NEUTRAL,
        gettext_lazy("This mail is very long or deeply nested; a part of it is not shown."),
    ),
}


def notice(code: str, params: Mapping[str, Any] | None = None) -> Notice:
    """A notice in words; unknown codes get a general sentence and never vanish."""
    tone, words = _NOTICE_WORDS.get(
        code, (AMBER, gettext_lazy("Something about this mail is unusual (%(code)s)."))
    )
    return Notice(code, tone, _filled(str(words), {"code": code, **(params or {})}))


def sender_notices(senders: list[dict[str, str]]) -> list[Notice]:
    """What the From itself tells: another address posing as the name, several senders."""
    found: list[Notice] = []
    if len(senders) > 1:
        found.append(notice("sender.several"))
    for sender in senders[:5]:
        posing = addresses.address_in(sender.get("name") or "")
        address = addresses.normalise(sender.get("address") or "")
        if posing and not addresses.same(posing, address):
            found.append(
                notice("sender.name_is_other_address", {"name": posing, "address": address or "–"})
            )
    return found
