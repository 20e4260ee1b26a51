"""Pages of folders and mails. Each view loads what is the signed-in person's, nothing else.

What templates are given is described in :mod:`webmail.reading.pages`. While the mail server is away
lists work from the database, with a sentence; while the person is locked, sealed mail shows the
unlock form in place.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.contrib import messages as toasts
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET

from crypto_agent.protocol import ProtocolError
from webmail.accounts.gates import is_fragment, locked_answer, signed_in
from webmail.accounts.models import MailAccount, User
from webmail.accounts.request import ours
from webmail.agent.door import KeyHolderSession, meanwhile
from webmail.lib.numbers import whole
from webmail.mailbox import actions, fetch, imap, sync
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Folder, Message, Role
from webmail.reading import frame, pages, peek, safe_types
from webmail.reading.open_message import (
    LOCKED_CODES,
    OpenedMessage,
    closed,
    locked,
    open_message,
    open_part,
)

logger = logging.getLogger(__name__)

FRESH: Final = timedelta(seconds=4)
"""A folder looked at within it is not asked for again by a page that polls."""

FIRST_SYNC_SECONDS: Final = 4.0
"""How long the very first page may read before it shows what there is."""

POLL_SYNC_SECONDS: Final = 5.0


# --------------------------------------------------------------------------- loading


def person(request: HttpRequest) -> User:
    """The signed-in person; the gate has checked it."""
    assert isinstance(request.user, User)
    return request.user


def holder_of(request: HttpRequest) -> KeyHolderSession | None:
    return ours(request).holder


def account_of(request: HttpRequest) -> MailAccount:
    """The person's mail account; 404 for somebody without one."""
    return get_object_or_404(MailAccount, user=person(request))


def own_folder(request: HttpRequest, folder_id: int) -> Folder:
    """A folder of the person's own account; anybody else's is not there at all."""
    return get_object_or_404(
        Folder.objects.select_related("account"),
        pk=folder_id,
        account__user=person(request),
        selectable=True,
    )


def own_message(request: HttpRequest, folder_id: int, uid: int) -> Message:
    """A mail of the person's own account; anybody else's is not there at all."""
    return get_object_or_404(
        Message.objects.select_related("folder", "folder__account"),
        folder_id=folder_id,
        uid=uid,
        folder__account__user=person(request),
    )


def opened_or_locked(
    request: HttpRequest, message: Message, *, learn: bool = False
) -> OpenedMessage:
    """Open a mail; the locked form when the agent says that nobody is unlocked.

    Raises MailServerError and ProtocolError.
    """
    try:
        return open_message(holder_of(request), person(request), message, learn=learn)
    except ProtocolError as error:
        if error.code in LOCKED_CODES:
            return locked(message)
        raise


# --------------------------------------------------------------------------- lists


@require_GET
@signed_in
def home(request: HttpRequest) -> HttpResponse:
    """To the inbox; the first time ever, the folders are read now."""
    account = MailAccount.objects.filter(user=person(request)).first()
    if account is None:
        toasts.info(request, imap.explain("no_account"))
        return HttpResponseRedirect(reverse("accounts:settings"))
    inbox = Folder.objects.filter(account=account, role=Role.INBOX).first()
    if inbox is None:
        try:
            inbox = next((f for f in sync.sync_folders(account) if f.role == Role.INBOX), None)
        except MailServerError as error:
            return _no_mailbox(request, error)
    if inbox is None:
        return _no_mailbox(request, MailServerError("missing_folder"))
    return HttpResponseRedirect(reverse("reading:folder", kwargs={"folder_id": inbox.pk}))


def _no_mailbox(request: HttpRequest, error: MailServerError) -> HttpResponse:
    """An empty list with the reason: the server was never reached."""
    context: dict[str, Any] = {
        "folder": {
            "id": 0,
            "name": str(Role.INBOX.label),
            "role": "inbox",
            "unread": 0,
            "total": 0,
            "url": reverse("reading:home"),
            "synced_at": None,
            "problem": error.sentence,
            "loading": False,
        },
        "rows": [],
        "page": {
            "number": 1,
            "first": 0,
            "last": 0,
            "total": 0,
            "total_is_exact": True,
            "previous_url": "",
            "next_url": "",
        },
        "query": "",
        "search_note": "",
        "operators": [],
        "list_url": reverse("reading:home"),
        "poll_url": "",
        "opened": None,
        "error": {"sentence": error.sentence, "hint": ""},
    }
    return render(request, "reading/folder.html", context, status=503)


@require_GET
@signed_in
def folder(request: HttpRequest, folder_id: int) -> HttpResponse:
    """One page of a folder or of a search in it. Templates: folder.html, _list.html."""
    wanted = own_folder(request, folder_id)
    if wanted.synced_at is None:
        _sync_quietly(wanted, seconds=FIRST_SYNC_SECONDS)
        wanted.refresh_from_db()
    context = pages.list_context(
        request,
        wanted,
        user=person(request),
        holder=holder_of(request),
        number=pages.page_number(request),
        query=request.GET.get("q", "").strip(),
    )
    template = "reading/_list.html" if is_fragment(request) else "reading/folder.html"
    response = render(request, template, context)
    patch_vary_headers(response, ["HX-Request"])
    return response


@require_GET
@signed_in
def poll(request: HttpRequest) -> HttpResponse:
    """What changed in a list since ``seen``: 204, or the page anew. Template: _poll.html.

    Looks at the server when nobody did in the last seconds, and into mail that nobody opened; it
    never keeps anybody unlocked.
    """
    wanted = own_folder(request, whole(request.GET.get("folder", "")) or 0)
    query = request.GET.get("q", "").strip()
    if wanted.synced_at is None or timezone.now() - wanted.synced_at > FRESH:
        _sync_quietly(wanted, seconds=POLL_SYNC_SECONDS)
        wanted.refresh_from_db()
    listed = partial(
        pages.list_context,
        request,
        wanted,
        user=person(request),
        holder=holder_of(request),
        number=pages.page_number(request),
        query=query,
        background=True,
    )
    context = listed()
    if peek.look(holder_of(request), person(request), context["unopened"], background=True):
        context = listed()
    seen = request.GET.get("seen", "")
    if seen == context["state_token"]:
        return HttpResponse(status=204)
    context["announcement"] = _announcement(wanted, seen)
    return render(request, "reading/_poll.html", context)


def _announcement(wanted: Folder, seen: str) -> str:
    known = whole(seen.partition("-")[0])
    if known is None:
        return ""
    new = wanted.messages.filter(uid__gte=known, seen=False, deleted=False).count()
    if not new:
        return ""
    return ngettext("%(count)d new message", "%(count)d new messages", new) % {"count": new}


def _sync_quietly(wanted: Folder, *, seconds: float) -> None:
    """Look at the server; what went wrong stands in the folder row and is shown from there."""
    try:
        sync.sync_folder(wanted, seconds=seconds)
    except MailServerError as error:
        logger.info("mail server of an account: %s", error.code)


# --------------------------------------------------------------------------- one mail


@require_GET
@signed_in
def message(request: HttpRequest, folder_id: int, uid: int) -> HttpResponse:
    """One mail, beside its list or alone. Templates: message.html, _message.html."""
    row = own_message(request, folder_id, uid)
    fragment = is_fragment(request)
    context: dict[str, Any] = {"error": None}
    status = 200
    if not fragment:
        context = pages.list_context(
            request,
            row.folder,
            user=person(request),
            holder=holder_of(request),
            number=pages.page_number(request),
            query=request.GET.get("q", "").strip(),
            selected=row.pk,
        )
    beside = pages.Beside(row, person(request))
    try:
        with meanwhile(beside.read):
            opened = opened_or_locked(request, row, learn=True)
        if not opened.locked and not row.seen:
            _mark_read(row)
        context |= pages.message_context(
            request, row, opened, beside, user=person(request), holder=holder_of(request)
        )
        context.setdefault("list_url", pages.list_url(row.folder, number=1, query=""))
        context.setdefault("folder", {"id": row.folder_id, "name": row.folder.label})
    except (MailServerError, ProtocolError) as error:
        if isinstance(error, MailServerError) and error.code in {"missing", "changed"}:
            _sync_quietly(row.folder, seconds=POLL_SYNC_SECONDS)
        context = _closed_context(request, row, beside) | context
        context |= {"error": pages.error_of(error)}
        context |= {"opened": closed(row)}
        status = 404 if getattr(error, "code", "") == "missing" else 503
    template = "reading/_message.html" if fragment else "reading/message.html"
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def _closed_context(request: HttpRequest, row: Message, beside: pages.Beside) -> dict[str, Any]:
    """A mail that cannot be opened now: what the list knows of it."""
    context = pages.message_context(
        request, row, closed(row), beside, user=person(request), holder=holder_of(request)
    )
    return context | {
        "list_url": pages.list_url(row.folder, number=1, query=""),
        "folder": {"id": row.folder_id, "name": row.folder.label},
    }


def _mark_read(row: Message) -> None:
    try:
        actions.set_flag([row], "\\Seen", on=True)
        row.seen = True
    except MailServerError as error:
        logger.info("a mail was not marked as read: %s", error.code)


@require_GET
@signed_in
def body(request: HttpRequest, folder_id: int, uid: int, part: str) -> HttpResponse:
    """One part of a mail as a document of its own, with a policy of its own."""
    row = own_message(request, folder_id, uid)
    try:
        opened = opened_or_locked(request, row)
        if opened.locked:
            return frame.sentence_response(_("Locked. Unlock to read."), status=423)
        shown = next(
            (each for each in opened.bodies + opened.alternatives if each.id == part), None
        )
        if shown is None:
            return frame.sentence_response(_("This part is not in the mail."), status=404)
        return frame.body_response(
            request,
            holder=holder_of(request),
            user=person(request),
            opened=opened,
            body=shown,
            remote=request.GET.get("remote") == "1",
        )
    except (MailServerError, ProtocolError) as error:
        return frame.sentence_response(pages.error_of(error)["sentence"], status=503)


@require_GET
@signed_in
def attachment(request: HttpRequest, folder_id: int, uid: int, part: str) -> HttpResponse:
    """An attachment to save; with ``?view=1`` a raster image in place."""
    row = own_message(request, folder_id, uid)
    try:
        found = open_part(holder_of(request), person(request), row, part)
    except ProtocolError as error:
        if error.code in LOCKED_CODES or holder_of(request) is None:
            return locked_answer(request)
        raise Http404 from error
    except MailServerError as error:
        return HttpResponse(error.sentence, status=503, content_type="text/plain; charset=utf-8")
    data = bytes(found["data"])
    if request.GET.get("view") == "1":
        picture = safe_types.picture(data)
        if picture is not None:
            return picture
    return safe_types.download(
        data,
        name=str(found.get("name") or ""),
        media_type=str(found.get("type") or "").lower(),
        fallback=_("attachment"),
    )


@require_GET
@signed_in
def source(request: HttpRequest, folder_id: int, uid: int) -> HttpResponse:
    """The mail byte for byte, as the server holds it: the proof that can be checked elsewhere."""
    row = own_message(request, folder_id, uid)
    try:
        raw = fetch.raw(row)
    except MailServerError as error:
        return HttpResponse(error.sentence, status=503, content_type="text/plain; charset=utf-8")
    return safe_types.download(
        raw,
        name=f"{row.subject or 'message'}.eml",
        media_type="message/rfc822",
        fallback="message.eml",
    )


@require_GET
@signed_in
def identity(request: HttpRequest, folder_id: int, uid: int) -> HttpResponse:
    """The identity block, judged anew with what was fetched meanwhile. Template: _identity.html."""
    row = own_message(request, folder_id, uid)
    context: dict[str, Any] = {"urls": pages.urls(row), "error": None}
    try:
        opened = opened_or_locked(request, row, learn=True)
    except (MailServerError, ProtocolError) as error:
        context |= {"opened": None, "error": pages.error_of(error)}
        return render(request, "reading/_identity.html", context, status=503)
    context |= {
        "opened": opened,
        "certificate": pages.certificate(opened),
        "encryption_words": pages.encryption_words(opened.encryption),
    }
    return render(request, "reading/_identity.html", context)


@require_GET
@signed_in
def certificate(request: HttpRequest, folder_id: int, uid: int) -> HttpResponse:
    """The signer's certificate with its chain, as PEM."""
    row = own_message(request, folder_id, uid)
    try:
        opened = opened_or_locked(request, row)
    except (MailServerError, ProtocolError) as error:
        raise Http404 from error
    if opened.locked:
        return locked_answer(request)
    if not opened.signer:
        raise Http404
    pem = b"".join(
        x509.load_der_x509_certificate(bytes(der)).public_bytes(Encoding.PEM)
        for der in [opened.signer["der"], *opened.signer.get("chain", [])]
    )
    return safe_types.download(
        pem, name="signer.pem", media_type="application/x-pem-file", fallback="signer.pem"
    )


@require_GET
@signed_in
def print_view(request: HttpRequest, folder_id: int, uid: int) -> HttpResponse:
    """The mail for paper: the identity line as text, then the parts. A document of its own, under
    the same policy as a body, so no template of ours shares a page with the mail."""
    row = own_message(request, folder_id, uid)
    try:
        opened = opened_or_locked(request, row)
    except (MailServerError, ProtocolError) as error:
        return frame.sentence_response(pages.error_of(error)["sentence"], status=503)
    if opened.locked:
        return locked_answer(request)
    bodies = [
        frame.safe_body(
            each,
            inline=frame.inline_images(holder_of(request), person(request), opened, each),
        )
        for each in opened.bodies
    ]
    return frame.respond(frame.print_document(pages.print_lines(opened), bodies))
