"""Why a mail stands still, as one sentence and what to do."""

from __future__ import annotations

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from crypto_agent.protocol import ErrorCode
from webmail.agent.sentences import explain as explain_agent
from webmail.mailbox.imap import explain as explain_imap

Words = tuple[str | Promise, str | Promise]

_SENTENCES: Final[dict[str, Words]] = {
    "locked": (
        _("Your mail is locked, and signing needs your keys."),
        _("It goes on by itself as soon as you unlock."),
    ),
    "crashed": (
        _("Sending it stopped the program three times."),
        _("It was set aside. Try again; if it stays, tell your administrator."),
    ),
    "promise": (
        _("It could not be protected as you were told, so it was not sent."),
        _("Take it back and look at the recipients again."),
    ),
    "gave_up": (
        _("The mail server did not take it for two days."),
        _("Try again, or take it back."),
    ),
    "refused": (
        _("The mail server refused it."),
        _("Its words stand beside each recipient. Take it back to change it."),
    ),
    "no_reply": (
        _("The connection broke at the very moment of handing it over."),
        _(
            "It may or may not have been sent. It is looked for in your mailbox; you can also ask "
            "the recipient."
        ),
    ),
    "later": (
        _("The mail server asked to come back later for some recipients."),
        _("It is tried again by itself."),
    ),
    "recipients_later": (
        _("The mail server asked to come back later."),
        _("It is tried again by itself."),
    ),
    "unreachable": (
        _("The mail server cannot be reached."),
        _("It is tried again by itself."),
    ),
    "connection": (
        _("The connection to the mail server broke."),
        _("It is tried again by itself."),
    ),
    "tls": (
        _("The mail server's encryption cannot be trusted."),
        _("It is tried again; tell your administrator if it stays."),
    ),
    "login": (
        _("The mail server does not accept the stored password."),
        _("Enter the mail password again in the settings; then it goes on."),
    ),
    "no_account": (
        _("No mail server is set for sending."),
        _("Tell your administrator; it goes on once the server is set."),
    ),
    "too_large": (
        _("It is larger than the mail server takes."),
        _("Take it back and remove an attachment."),
    ),
    "smtputf8": (
        _("The mail server does not know addresses with letters like these."),
        _("Take it back and use another address of this person."),
    ),
    "eight_bit": (
        _("The mail server cannot take this mail without changing it."),
        _("Tell your administrator: the server does not offer 8BITMIME."),
    ),
    "address": (
        _("An address cannot be written to."),
        _("Take it back and correct the address."),
    ),
    "mail": (
        _("The mail server does not let you send now."),
        _("Its words stand beside the recipients."),
    ),
    "data": (
        _("The mail server did not want the text of the mail."),
        _("Its words stand beside the recipients."),
    ),
    "content": (
        _("The mail server refused the content of the mail."),
        _("Its words stand beside the recipients."),
    ),
    "recipients": (
        _("The mail server accepted none of the recipients."),
        _("Take it back and correct the addresses."),
    ),
}


def explain(code: str) -> tuple[str, str]:
    """(sentence, hint) for a problem code of :class:`Outgoing`; two empty texts for none."""
    if not code:
        return "", ""
    if code.endswith("_later"):  # a 4xx, at whatever step
        code = "recipients_later"
    if code in _SENTENCES:
        sentence, hint = _SENTENCES[code]
        return str(sentence), str(hint)
    if code.startswith("imap_"):
        told = explain_imap(code.removeprefix("imap_"))
        return str(told), str(_("It was sent; storing the copy is tried again by itself."))
    if code in set(ErrorCode):
        sentence, hint = explain_agent(ErrorCode(code))
        return str(sentence), str(hint)
    return str(_("It could not be sent.")), str(_("Try again, or tell your administrator."))
