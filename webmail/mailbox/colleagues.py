"""Mail that came in the name of somebody of the house, whose mail leaves here signed."""

from __future__ import annotations

from collections.abc import Mapping

from webmail.certificates import directory
from webmail.certificates.facts import address_key
from webmail.mailbox.models import Message, Role


def of_colleagues(senders: Mapping[Message, str]) -> set[Message]:
    """Those of the mails whose sender is one of our people and had keys when they came.

    What lies in Sent and Drafts did not come: another program put it there.
    """
    came = {
        message: address_key(sender)
        for message, sender in senders.items()
        if message.folder.role not in {Role.SENT, Role.DRAFTS}
    }
    since = directory.seals_since(came.values()) if came else {}
    # IMAP's times are whole seconds.
    return {
        message
        for message, sender in came.items()
        if sender in since and message.internal_date >= since[sender].replace(microsecond=0)
    }
