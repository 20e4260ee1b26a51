"""What is done to mails from lists and pages: flags, archive, delete, spam, move, and undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.contrib import messages as toasts
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from webmail.accounts.gates import is_fragment, signed_in
from webmail.lib.numbers import whole
from webmail.mailbox import actions
from webmail.mailbox.context import folders as folder_context
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Folder, Message, Role
from webmail.reading.views import person

IDS_LIMIT: Final = 500
"""Mails of one action: ten pages of a list."""

FLAGS: Final = {
    "read": ("\\Seen", True),
    "unread": ("\\Seen", False),
    "star": ("\\Flagged", True),
    "unstar": ("\\Flagged", False),
}


class _Refused(Exception):
    """The request makes no sense; the sentence is shown."""


@require_POST
@signed_in
def act(request: HttpRequest) -> HttpResponse:
    """POST action, ids, target. Template: _acted.html; without scripts, back to ``next``."""
    context: dict[str, Any] = {"sentence": "", "undo": None, "error": None}
    status = 200
    try:
        chosen = _own_messages(request)
        sentence, undo = _do(request, chosen)
        context |= {"sentence": sentence, "undo": undo}
    except _Refused as error:
        context["error"] = {"sentence": str(error), "hint": ""}
        status = 422
    except MailServerError as error:
        context["error"] = {"sentence": error.sentence, "hint": ""}
        status = 503
    if is_fragment(request):
        context |= folder_context(request)
        return render(request, "reading/_acted.html", context, status=status)
    if context["error"]:
        toasts.error(request, context["error"]["sentence"])
    else:
        toasts.success(request, context["sentence"])
    response = HttpResponseRedirect(_back(request))
    response.status_code = 303
    return response


def _own_messages(request: HttpRequest) -> list[Message]:
    """The chosen mails as far as they are the person's own; others are not there at all."""
    numbers = {whole(text) for text in request.POST.getlist("ids")} - {None}
    if not numbers or len(numbers) > IDS_LIMIT:
        raise _Refused(_("Choose some messages first."))
    found = list(
        Message.objects.select_related("folder", "folder__account").filter(
            pk__in=numbers, folder__account__user=person(request)
        )
    )
    if not found:
        raise _Refused(_("These messages are no longer there. Reload the list."))
    return found


def _do(request: HttpRequest, chosen: Sequence[Message]) -> tuple[str, dict[str, Any] | None]:
    action = request.POST.get("action", "")
    if action in FLAGS:
        flag, on = FLAGS[action]
        actions.set_flag(chosen, flag, on=on)
        return _flag_sentence(action, len(chosen)), None
    moves: dict[str, Callable[[], list[actions.Moved]]] = {
        "archive": lambda: actions.move_to_role(chosen, Role.ARCHIVE),
        "spam": lambda: actions.move_to_role(chosen, Role.JUNK),
        "not_spam": lambda: actions.move_to_role(chosen, Role.INBOX),
        "delete": lambda: actions.delete(chosen),
        "move": lambda: actions.move(chosen, _target(request)),
    }
    if action not in moves:
        raise _Refused(_("This cannot be done with messages."))
    # Before anything moves: afterwards rows carry their new folder.
    where = {message.folder_id for message in chosen}
    moved = moves[action]()
    return _moved_sentence(len(chosen), moved), _undo(moved, where)


def _target(request: HttpRequest) -> Folder:
    target = (
        Folder.objects.select_related("account")
        .filter(
            pk=whole(request.POST.get("target", "")) or 0,
            account__user=person(request),
            selectable=True,
        )
        .first()
    )
    if target is None:
        raise _Refused(_("Choose a folder of yours to move to."))
    return target


def _undo(moved: Sequence[actions.Moved], where: set[int]) -> dict[str, Any] | None:
    """How to take it back: only when all came from one folder and the rows could be followed."""
    keys = [key for each in moved for key in each.keys]
    count = sum(each.count for each in moved)
    if len(where) != 1 or not keys or len(keys) != count:
        return None
    return {"action": "move", "ids": keys, "target": where.pop()}


def _flag_sentence(action: str, count: int) -> str:
    sentences = {
        "read": ngettext(
            "%(count)d message marked as read", "%(count)d messages marked as read", count
        ),
        "unread": ngettext(
            "%(count)d message marked as unread", "%(count)d messages marked as unread", count
        ),
        "star": ngettext("%(count)d message starred", "%(count)d messages starred", count),
        "unstar": ngettext(
            "Star removed from %(count)d message", "Star removed from %(count)d messages", count
        ),
    }
    return sentences[action] % {"count": count}


def _moved_sentence(count: int, moved: Sequence[actions.Moved]) -> str:
    if not moved:
        return ngettext(
            "%(count)d message deleted for good", "%(count)d messages deleted for good", count
        ) % {"count": count}
    target = Folder.objects.get(pk=moved[0].target)
    return ngettext(
        "%(count)d message moved to %(folder)s", "%(count)d messages moved to %(folder)s", count
    ) % {"count": count, "folder": target.label}


def _back(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return reverse("reading:home")
