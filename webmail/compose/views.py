"""Pages of compose: the form, its autosave and attachments, sending, undo and the outbox.

Contexts are those of the templates named beside each view; ``error`` is None or
``{"sentence", "hint"}``, ``ask`` is None or a question that one more button answers.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import time_format
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from crypto_agent.protocol import ErrorCode, ProtocolError
from webmail.accounts.gates import SeeOther, is_fragment, locked_answer, signed_in, unlocked
from webmail.accounts.models import User
from webmail.accounts.request import ours
from webmail.agent import door
from webmail.agent.sentences import explain
from webmail.certificates import pins
from webmail.compose import build, decide, drafts, forms, listing, protection
from webmail.compose import outbox as machine
from webmail.compose import suggest as suggesting
from webmail.compose.drafts import About, Content, Mailbox, Part
from webmail.compose.forms import Written
from webmail.compose.models import Draft, Outgoing, State
from webmail.lib.numbers import whole
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Message, Role

if TYPE_CHECKING:
    from webmail.agent.door import KeyHolderSession

Page = Callable[..., HttpResponse]

LOCKED_CODES: Final = frozenset(
    {ErrorCode.NOT_UNLOCKED, ErrorCode.WRONG_SESSION, ErrorCode.EXPIRED}
)
ASK_ORDER: Final = ("attachment", "subject", "clear")
"""The order of questions: an answer to a later one says that the earlier ones were answered."""

_SPEAKS_OF_ATTACHMENT: Final = re.compile(
    r"\b(attach(?:ed|ment|ments|ing)?|enclosed|anbei|anhang|beigefügt|angehängt)\b|附件|附上", re.I
)

HEADINGS: Final = {
    "reply": "Reply",
    "reply_all": "Reply to all",
    "forward": "Forward",
    "forward_attachment": "Forward",
}


def _user(request: HttpRequest) -> User:
    return cast(User, request.user)


def _holder(request: HttpRequest) -> KeyHolderSession:
    return cast("KeyHolderSession", ours(request).holder)


def _speaking_with_agents(view: Page) -> Page:
    """Locked meanwhile: the unlock form. Anything else an agent or mail server says: a sentence."""

    @wraps(view)
    def spoken(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except ProtocolError as error:
            if error.code in LOCKED_CODES:
                return locked_answer(request)
            sentence, hint = explain(error.code)
        except MailServerError as error:
            sentence, hint = error.sentence, _("Try again in a minute.")
        return _trouble(request, str(sentence), str(hint))

    return spoken


def _trouble(request: HttpRequest, sentence: str, hint: str) -> HttpResponse:
    if is_fragment(request):
        context = {"error": {"sentence": sentence, "hint": hint}}
        return render(request, "parts/_error.html", context, status=HTTPStatus.SERVICE_UNAVAILABLE)
    messages.error(request, f"{sentence} {hint}")
    return SeeOther(_next(request))


def _next(request: HttpRequest) -> str:
    """Where the form wants to go, if that is a page of ours."""
    wanted = request.POST.get("next", "") or request.GET.get("next", "")
    if wanted and url_has_allowed_host_and_scheme(
        wanted, {request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return reverse("reading:home")


def _own_draft(request: HttpRequest, pk: uuid.UUID) -> Draft:
    return get_object_or_404(Draft, pk=pk, user=_user(request), closing=False)


def _busy(draft: Draft) -> Outgoing | None:
    """The mail that this draft became, unless it was taken back."""
    return Outgoing.objects.filter(draft=draft).exclude(state=State.CANCELLED).first()


# --------------------------------------------------------------------------- the form


@never_cache
@require_safe
@unlocked
@_speaking_with_agents
def new(request: HttpRequest) -> HttpResponse:
    """``compose/edit.html``: an empty mail, or an answer, which gets its own address at once.

    ``?reply=<folder>/<uid>&mode=`` answers; ``?to=&cc=&subject=&body=`` is what a mailto: link may
    say (RFC 6068 without attachments, Bcc and every other header).
    """
    user = _user(request)
    origin = request.GET.get("reply", "")
    if origin:
        return _begin_answer(request, origin, request.GET.get("mode", "reply"))
    built = build.new(
        user,
        to=request.GET.get("to", ""),
        cc=request.GET.get("cc", ""),
        subject=request.GET.get("subject", ""),
        body=request.GET.get("body", ""),
    )
    return _edit(request, None, built.content, About(), [])


def _begin_answer(request: HttpRequest, origin: str, mode: str) -> HttpResponse:
    folder, _slash, uid = origin.partition("/")
    if mode not in build.MODES:
        raise Http404
    message = get_object_or_404(
        Message.objects.select_related("folder", "folder__account"),
        folder_id=whole(folder),
        uid=whole(uid),
        folder__account__user=_user(request),
    )
    holder = _holder(request)
    built = build.answer(holder, _user(request), message, mode)
    draft = drafts.start(holder, _user(request), built.content, built.about, untouched=True)
    try:
        for file in built.files:
            drafts.attach(holder, draft, name=file.name, type=file.type, data=file.data)
    except drafts.TooLarge:
        messages.warning(
            request, _("Not every attachment was taken over: together they are larger than 25 MB.")
        )
    return HttpResponseRedirect(reverse("compose:draft", args=[draft.pk]))


@never_cache
@require_safe
@unlocked
@_speaking_with_agents
def draft(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """``compose/edit.html`` with what was saved."""
    row = _own_draft(request, pk)
    if _busy(row) is not None:
        return HttpResponseRedirect(reverse("compose:outbox"))
    holder = _holder(request)
    content = drafts.read(holder, row)
    about = drafts.read_about(holder, row)
    return _edit(request, row, content, about, drafts.attachments(holder, row))


@never_cache
@require_safe
@unlocked
@_speaking_with_agents
def resume(request: HttpRequest, folder_id: int, uid: int) -> HttpResponse:
    """A mail of the Drafts folder, wherever it was written: goes on as a draft of ours."""
    message = get_object_or_404(
        Message.objects.select_related("folder", "folder__account"),
        folder_id=folder_id,
        uid=uid,
        folder__role=Role.DRAFTS,
        folder__account__user=_user(request),
    )
    row = drafts.resume(_holder(request), _user(request), message)
    return HttpResponseRedirect(reverse("compose:draft", args=[row.pk]))


def _markup(content: Content, row: Draft | None, written: Written | None) -> str | None:
    """HTML for the editor; None for a mail that its writer chose to keep in plain text.

    What nobody wrote in yet begins in the editor: its text becomes markup there.
    """
    if content.html is None and written is None and (row is None or row.version <= 1):
        return ""
    return content.html


def _edit(
    request: HttpRequest,
    row: Draft | None,
    content: Content,
    about: About,
    parts: list[Part],
    *,
    written: Written | None = None,
    error: dict[str, str] | None = None,
    ask: dict[str, str] | None = None,
    notice: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    user = _user(request)
    wanted = written.protection if written is not None else "encrypt"
    tone = "amber"
    if not notice and about.encrypted:
        tone = "neutral"
        notice = _("The original was encrypted to you: its text only leaves encrypted.")
    if not notice and any(part.size == 0 for part in parts):
        notice = _("One attachment is empty.")
    lists = {name: forms.show(getattr(content, name)) for name in ("to", "cc", "bcc")}
    if written is not None:
        lists = dict(written.typed)
    context = {
        "draft": {
            "id": row.pk if row else None,
            "version": row.version if row else 0,
            "subject": content.subject,
            "text": content.text,
            "html": _markup(content, row, written),
            "from": content.sender.address,
            "saved_at": row.updated_at if row and row.version > 1 else None,
            "attachments": [_attachment(row, part) for part in parts if row is not None],
            **lists,
        },
        "froms": [
            {
                "address": each.address,
                "name": each.name,
                "selected": each.address == content.sender.address,
            }
            for each in build.senders(user)
        ],
        "send_id": uuid.uuid4(),
        "origin": "",
        "mode": about.mode,
        "heading": _(HEADINGS[about.mode]) if about.mode in HEADINGS else _("New mail"),
        "protection": wanted,
        "recipients": protection.context(user, protection.look(user, content, wanted)),
        "quote": None,
        "replying_to": _replying_to(user, about),
        "notice": notice,
        "notice_tone": tone,
        "locked": ours(request).holder is None,
        "undo_seconds": user.undo_send_seconds,
        "limits": {"bytes": drafts.ATTACHMENTS_BYTES, "words": "25 MB"},
        "error": error,
        "ask": ask,
        "urls": _urls(row),
    }
    return render(request, "compose/edit.html", context, status=status)


def _attachment(row: Draft | None, part: Part) -> dict[str, Any]:
    assert row is not None
    return {
        "id": part.id,
        "name": part.name,
        "size": part.size,
        "type": part.type,
        "detach_url": reverse("compose:detach", args=[row.pk, part.id]),
    }


def _urls(row: Draft | None) -> dict[str, str]:
    return {
        "save": reverse("compose:save"),
        "attach": reverse("compose:attach", args=[row.pk])
        if row
        else reverse("compose:attach_new"),
        "recipients": reverse("compose:recipients"),
        "suggest": reverse("compose:suggest"),
        "send": reverse("compose:send"),
        "discard": reverse("compose:discard", args=[row.pk]) if row else "",
        "draft": reverse("compose:draft", args=[row.pk]) if row else "",
    }


def _replying_to(user: User, about: About) -> dict[str, str] | None:
    if not about.mode:
        return None
    known = Message.objects.filter(
        folder_id=about.folder, uid=about.uid, folder__account__user=user
    ).exists()
    url = reverse("reading:message", args=[about.folder, about.uid]) if known else ""
    return {"subject": about.subject, "sender": about.sender, "url": url}


# --------------------------------------------------------------------------- saving


def _keep(
    request: HttpRequest, written: Written, *, whole: bool, overwrite: bool = False
) -> tuple[Draft, About]:
    """Save the form. Raises Http404, DraftConflict, ProtocolError."""
    holder, user = _holder(request), _user(request)
    if written.draft is None:
        return drafts.start(holder, user, written.content, About()), About()
    row = Draft.objects.filter(pk=written.draft).first()
    if row is not None and row.user_id != user.pk:
        raise Http404
    if row is None or row.closing or _busy(row) is not None:
        raise drafts.DraftConflict
    about = drafts.read_about(holder, row)
    content = _with_thread(written.content, about)
    version = row.version if overwrite else written.version
    drafts.save(holder, row, content, version=version, whole=whole)
    return row, about


def _with_thread(content: Content, about: About) -> Content:
    return replace(content, in_reply_to=about.in_reply_to, references=about.references)


def _conflict_sentence() -> str:
    return _(
        "Not saved: this draft was changed, sent or thrown away in another window. What you write "
        "here stays on this page; Send asks you whose text counts."
    )


@never_cache
@require_POST
@signed_in
def save(request: HttpRequest) -> HttpResponse:
    """Autosave: JSON with the new version, 409 when another window was faster, 423 when locked.

    Pressed as a button (``save`` in the form): everything stored, 303 to the draft.
    """
    button = "save" in request.POST
    written = forms.read(request.POST, _user(request))
    if ours(request).holder is None:
        return _locked_while_writing(request, written, button=button)
    try:
        row, _about = _keep(request, written, whole=button)
    except drafts.DraftConflict:
        if button:
            return _after_conflict(request, written)
        return JsonResponse({"sentence": _conflict_sentence()}, status=HTTPStatus.CONFLICT)
    except ProtocolError as error:
        if error.code in LOCKED_CODES:
            return _locked_while_writing(request, written, button=button)
        sentence, hint = explain(error.code)
        if button:
            return _not_sent(request, written, str(sentence), str(hint))
        # Not the form's fault: the page tries again by itself.
        return JsonResponse(
            {"sentence": f"{sentence} {hint}"}, status=HTTPStatus.SERVICE_UNAVAILABLE
        )
    if button:
        try:
            _take_files(request, row)  # chosen, and not uploaded by a script
        except drafts.TooLarge:
            messages.error(request, _too_large_sentence())
        _file_soon(row)
        messages.success(request, _("Draft saved."))
        return SeeOther(reverse("compose:draft", args=[row.pk]))
    now = timezone.localtime()
    words = _("Saved %(time)s") % {"time": time_format(now, "TIME_FORMAT")}
    return JsonResponse(
        {
            "draft": str(row.pk),
            "version": row.version,
            "saved_at": now.isoformat(),
            "words": words,
            "urls": _urls(row),
        }
    )


def _locked_while_writing(request: HttpRequest, written: Written, *, button: bool) -> HttpResponse:
    if button:
        return _locked_page(request, written)
    sentence = _("Your mail is locked. Unlock it to save what you write.")
    return JsonResponse({"sentence": sentence}, status=HTTPStatus.LOCKED)


def _locked_page(request: HttpRequest, written: Written) -> HttpResponse:
    """The form again with every typed word, and what to do; a script asks for the password."""
    return _not_sent(
        request,
        written,
        _("Your mail was locked meanwhile."),
        _("What you wrote is still here. Unlock in another tab, then send it here."),
        status=HTTPStatus.LOCKED,
    )


def _file_soon(row: Draft) -> None:
    from webmail.compose import tasks

    try:
        tasks.file_draft.delay(str(row.pk))
    except Exception:  # whatever the broker's client raises: the sweeper files it
        return


@never_cache
@require_POST
@unlocked
@_speaking_with_agents
def attach(request: HttpRequest, pk: uuid.UUID | None = None) -> HttpResponse:
    """``compose/_attachment.html`` with ``attachment`` or ``error``; plain forms: 303 to the draft.

    A whole form (without JavaScript) is saved first, so that no typed word is lost.
    """
    row = _draft_for_attachment(request, pk)
    uploads = request.FILES.getlist("file")
    parts: list[Part] = []
    sentence = "" if uploads else _("Choose a file first.")
    try:
        parts = _take_files(request, row)
    except drafts.TooLarge:
        sentence = _too_large_sentence()
    if not is_fragment(request):
        if sentence:
            messages.error(request, sentence)
        return SeeOther(reverse("compose:draft", args=[row.pk]))
    if sentence:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if uploads else HTTPStatus.UNPROCESSABLE_ENTITY
        error = {"sentence": sentence, "hint": ""}
        context = {"attachment": None, "error": error}
        return render(request, "compose/_attachment.html", context, status=status)
    context = {"attachment": _attachment(row, parts[-1]), "error": None}
    return render(request, "compose/_attachment.html", context)


def _too_large_sentence() -> str:
    return _("Attachments may have 25 MB together. Remove one, or send a second mail.")


def _take_files(request: HttpRequest, row: Draft) -> list[Part]:
    """Attach every uploaded file. Raises TooLarge at the first that does not fit, ProtocolError."""
    uploads: list[UploadedFile] = request.FILES.getlist("file")
    return [
        drafts.attach(
            _holder(request),
            row,
            name=upload.name or "",
            type=upload.content_type or "",
            data=upload.read(),
        )
        for upload in uploads
    ]


def _draft_for_attachment(request: HttpRequest, pk: uuid.UUID | None) -> Draft:
    whole_form = "subject" in request.POST
    if pk is not None and not whole_form:
        row = _own_draft(request, pk)
    else:
        written = forms.read(request.POST, _user(request))
        written = replace(written, draft=pk or written.draft)
        try:
            row, _about = _keep(request, written, whole=False)
        except drafts.DraftConflict:
            messages.error(request, _conflict_sentence())
            if written.draft is None:
                raise Http404 from None
            row = _own_draft(request, written.draft)
    if _busy(row) is not None:
        raise Http404
    return row


@never_cache
@require_POST
@unlocked
@_speaking_with_agents
def detach(request: HttpRequest, pk: uuid.UUID, attachment: uuid.UUID) -> HttpResponse:
    """Remove an attachment: 204, or 303 to the draft."""
    row = _own_draft(request, pk)
    if _busy(row) is None:
        drafts.detach(row, attachment)
        if not is_fragment(request) and "subject" in request.POST:
            written = replace(forms.read(request.POST, _user(request)), draft=pk)
            try:
                _keep(request, written, whole=False)
            except drafts.DraftConflict:
                messages.error(request, _conflict_sentence())
    if is_fragment(request):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return SeeOther(reverse("compose:draft", args=[row.pk]))


@never_cache
@require_POST
@signed_in
def discard(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Throw the draft away, here and in the Drafts folder."""
    row = _own_draft(request, pk)
    if _busy(row) is not None:
        messages.warning(request, _("This draft is being sent. Take it back in the outbox."))
        return SeeOther(reverse("compose:outbox"))
    drafts.discard(row)
    _file_soon(row)
    messages.success(request, _("Draft deleted."))
    return SeeOther(_next(request))


# --------------------------------------------------------------------------- recipients


@never_cache
@require_safe
@signed_in
def recipients(request: HttpRequest) -> HttpResponse:
    """``compose/_recipients.html``: a chip per recipient and the sentence of what will happen."""
    user = _user(request)
    typed = request.GET
    content = Content(
        sender=Mailbox("", ""),
        to=forms.typed_mailboxes(typed.get("to", "")),
        cc=forms.typed_mailboxes(typed.get("cc", "")),
        bcc=forms.typed_mailboxes(typed.get("bcc", "")),
    )
    wanted = "clear" if request.GET.get("protection") == "clear" else "encrypt"
    context = {"recipients": protection.context(user, protection.look(user, content, wanted))}
    return render(request, "compose/_recipients.html", context)


@never_cache
@require_safe
@signed_in
def suggest(request: HttpRequest) -> HttpResponse:
    """``compose/_suggestions.html``: at most eight addresses for what was typed."""
    found = suggesting.suggestions(_user(request), request.GET.get("q", ""))
    return render(request, "compose/_suggestions.html", {"suggestions": found})


@never_cache
@require_POST
@signed_in
def pin(request: HttpRequest) -> HttpResponse:
    """The user's word on a certificate that waits: ``choice`` "accept" or "keep"."""
    user, address = _user(request), request.POST.get("address", "")
    if request.POST.get("choice") == "accept":
        done = pins.accept_pending(user.pk, address, request.POST.get("sha256", ""))
        words = _("The new certificate is used from now on.")
    else:
        done = pins.keep_current(user.pk, address)
        words = _("The certificate used so far stays.")
    if is_fragment(request):
        return HttpResponse(status=HTTPStatus.NO_CONTENT if done else HTTPStatus.CONFLICT)
    if done:
        messages.success(request, words)
    else:
        messages.warning(request, _("The certificate changed meanwhile. Look at it again."))
    return SeeOther(_next(request))


# --------------------------------------------------------------------------- sending


@never_cache
@require_POST
@signed_in
def send(request: HttpRequest) -> HttpResponse:
    """Queue the mail: 303; 422 with ``error`` or ``ask``; 423 when locked.

    What is sent is what the page said: encrypted unless the user chose otherwise in so many words,
    to the certificates that were shown. Pressed twice it sends once.
    """
    user = _user(request)
    written = forms.read(request.POST, user)
    send_id = written.send_id or uuid.uuid4()
    if Outgoing.objects.filter(pk=send_id, user=user).exists():
        return SeeOther(_next(request))
    if ours(request).holder is None:
        return _locked_page(request, written)
    try:
        return _send(request, replace(written, send_id=send_id))
    except drafts.DraftConflict:
        return _after_conflict(request, replace(written, send_id=send_id))
    except drafts.DraftDamaged:
        sentence = _("An attachment is damaged. Remove it and attach it again.")
        return _not_sent(request, written, sentence)
    except ProtocolError as error:
        if error.code in LOCKED_CODES:
            return _locked_page(request, written)
        sentence, hint = explain(error.code)
        return _not_sent(request, written, str(sentence), str(hint))


def _not_sent(
    request: HttpRequest,
    written: Written,
    sentence: str,
    hint: str = "",
    *,
    status: int = HTTPStatus.UNPROCESSABLE_ENTITY,
) -> HttpResponse:
    """The form as it was typed, with the reason. Needs no keys: they may be what is missing."""
    row = None
    parts: list[Part] = []
    if written.draft is not None:
        row = _own_draft(request, written.draft)
        if ours(request).holder is not None:
            with suppress(ProtocolError):
                parts = drafts.attachments(_holder(request), row)
    return _edit(
        request,
        row,
        written.content,
        About(),
        parts,
        written=written,
        error={"sentence": sentence, "hint": hint},
        status=status,
    )


def _after_conflict(request: HttpRequest, written: Written) -> HttpResponse:
    """Sent by the first click or by another window with the same words: fine. Changed there: ask
    whose text counts."""
    user, holder = _user(request), _holder(request)
    sent = Outgoing.objects.filter(user=user).exclude(state=State.CANCELLED)
    if written.send_id is not None and sent.filter(pk=written.send_id).exists():
        return SeeOther(_next(request))
    assert written.draft is not None  # what is new conflicts with nothing
    row = Draft.objects.filter(pk=written.draft, user=user).first()
    if row is None or row.closing or _busy(row) is not None:
        was_sent = row is not None and sent.filter(draft=row).exists()
        if row is not None and was_sent and _says_the_same(holder, row, written):
            return SeeOther(_next(request))
        return _apart(request, row, written)
    return _edit(
        request,
        row,
        written.content,
        drafts.read_about(holder, row),
        drafts.attachments(holder, row),
        written=written,
        ask={
            "code": "conflict",
            "sentence": _("This draft was changed in another window."),
            "verb": _("Send the text shown here"),
            "name": "confirm",
            "value": "conflict",
        },
        status=HTTPStatus.CONFLICT,
    )


def _says_the_same(holder: KeyHolderSession, row: Draft, written: Written) -> bool:
    """Whether a page holds just what the draft ended with."""
    about = drafts.read_about(holder, row)
    return drafts.read(holder, row) == _with_thread(written.content, about)


def _apart(request: HttpRequest, row: Draft | None, written: Written) -> HttpResponse:
    """The draft was sent or thrown away elsewhere and this page says something else: it goes on as
    a draft of its own, with what the old one knew of the mail it answers."""
    holder = _holder(request)
    about = About() if row is None else drafts.read_about(holder, row)
    own = drafts.start(holder, _user(request), _with_thread(written.content, about), about)
    return _edit(
        request,
        own,
        written.content,
        about,
        [],
        written=written,
        error={
            "sentence": _("Not sent: this draft was sent or thrown away in another window."),
            "hint": _("What you wrote here is a new draft now, without attachments."),
        },
        status=HTTPStatus.CONFLICT,
    )


def _send(request: HttpRequest, written: Written) -> HttpResponse:
    user, holder = _user(request), _holder(request)
    # Saved first, whatever comes next: nothing typed is lost by a question or a refusal. The
    # version check makes this the one winner of two windows.
    row, about = _keep(request, written, whole=True, overwrite="conflict" in written.confirmed)
    content = _with_thread(written.content, about)
    too_large = ""
    try:
        _take_files(request, row)
    except drafts.TooLarge:
        too_large = _too_large_sentence()
    parts = drafts.attachments(holder, row)
    outlook = protection.look(user, content, written.protection)

    def again(**extra: Any) -> HttpResponse:
        shown = extra.pop("content", content)
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return _edit(request, row, shown, about, parts, written=written, status=status, **extra)

    if too_large or written.problems:
        return again(error={"sentence": too_large or written.problems[0], "hint": ""})
    if not content.recipients:
        return again(error={"sentence": _("Add at least one recipient."), "hint": ""})
    fallen = protection.weaker(user, written.promise, outlook)
    if fallen and written.protection == "encrypt":
        sentence = _("Not sent: the certificate of %(address)s is not the one you were shown.") % {
            "address": fallen[0]
        }
        return again(
            error={"sentence": sentence, "hint": _("Look at the recipients, then send again.")}
        )
    question = _question(written, content, parts, outlook)
    if question is not None:
        return again(ask=question)
    encrypt = outlook.encrypts
    if not encrypt and about.encrypted:
        bare = _without_secrets(content, about)
        if bare != content:
            drafts.save(holder, row, bare, version=row.version, whole=True)
            ask = _ask_clear(outlook)
            notice = _(
                "The quoted text was encrypted to you, so it was taken out. Check what is left "
                "before you send it without encryption."
            )
            return again(content=bare, ask=ask, notice=notice)
    _queue(request, written, row, about, content, parts, outlook, encrypt=encrypt)
    return SeeOther(_next(request))


def _question(
    written: Written, content: Content, parts: list[Part], outlook: protection.Outlook
) -> dict[str, str] | None:
    """The first thing to ask that was not answered yet."""
    answered = [ASK_ORDER.index(code) for code in written.confirmed if code in ASK_ORDER]
    reached = max(answered, default=-1)
    if reached < 0 and not parts and _SPEAKS_OF_ATTACHMENT.search(_own_words(content.text)):
        return {
            "code": "attachment",
            "sentence": _("You write about an attachment, and none is attached."),
            "verb": _("Send without attachment"),
            "name": "confirm",
            "value": "attachment",
        }
    if reached < 1 and not content.subject.strip():
        return {
            "code": "subject",
            "sentence": _("The subject is empty."),
            "verb": _("Send without subject"),
            "name": "confirm",
            "value": "subject",
        }
    if reached < 2 and written.protection == "encrypt" and outlook.blocked:
        return _ask_clear(outlook)
    return None


def _ask_clear(outlook: protection.Outlook) -> dict[str, str]:
    blocked = replace(outlook, wanted="encrypt")
    told = protection.outcome(blocked if outlook.blocked else outlook)
    return {
        "code": "clear",
        "sentence": str(told["sentence"]),
        "verb": _("Send without encryption"),
        "name": "confirm",
        "value": "clear",
    }


def _own_words(text: str) -> str:
    """The text without quotes and signature."""
    lines = []
    for line in text.splitlines():
        if line == "-- ":
            break
        if not line.startswith(">"):
            lines.append(line)
    return "\n".join(lines)


def _without_secrets(content: Content, about: About) -> Content:
    """``content`` fit to leave in clear although the original was encrypted."""
    bare = content
    if build.leaks_quote(content.text, content.html, about):
        bare = replace(bare, text=build.without_quote(content.text, about), html=None)
    secret = about.subject.strip()
    if secret and secret != build.HIDDEN_SUBJECT and secret.lower() in content.subject.lower():
        forward = about.mode.startswith("forward")
        hidden = build.forward_subject if forward else build.reply_subject
        bare = replace(bare, subject=hidden(build.HIDDEN_SUBJECT))
    return bare


def _queue(
    request: HttpRequest,
    written: Written,
    row: Draft,
    about: About,
    content: Content,
    parts: list[Part],
    outlook: protection.Outlook,
    *,
    encrypt: bool,
) -> None:
    user, holder = _user(request), _holder(request)
    message_id = f"<{uuid.uuid4().hex}@{content.sender.address.rpartition('@')[2]}>"
    held = door.call(
        holder,
        "hold",
        {
            "draft": drafts.to_wire(content, drafts.wire_attachments(row, parts)),
            "recipients": [
                {
                    "address": state["address"],
                    "kind": kind,
                    "certificates": state["certificates"] if encrypt else [],
                    "capabilities": state["capabilities"] if encrypt else None,
                }
                for state, kind, _name in outlook.people
            ],
            "encrypt": encrypt,
            "from": content.sender.to_wire(),
            "message_id": message_id,
        },
    )["held"]
    summary = door.call(holder, "seal_fields", {"items": [content.subject.encode()]})["items"][0]
    undo = timezone.now() + timedelta(seconds=user.undo_send_seconds)
    assert written.send_id is not None
    queued, new_row = machine.queue(
        pk=written.send_id,
        user=user,
        draft=row,
        held=bytes(held),
        message_id=message_id,
        envelope_from=content.sender.address,
        recipients=[
            machine.To(state["address"], kind, state["fingerprints"] if encrypt else [])
            for state, kind, _name in outlook.people
        ],
        will_encrypt=encrypt,
        sealed_summary=bytes(summary),
        due_at=max(undo, written.due) if written.due else undo,
        answers=_answers(about),
    )
    if not new_row and queued.draft_id != row.pk:
        drafts.discard(row)  # a double click on a mail that was never saved made a second draft


def _answers(about: About) -> tuple[int, int, str] | None:
    if not about.mode or not about.folder:
        return None
    flag = "$Forwarded" if about.mode.startswith("forward") else "\\Answered"
    return about.folder, about.uid, flag


@never_cache
@require_POST
@signed_in
def undo(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Back to the draft, or to the outbox when it is too late."""
    user = _user(request)
    row = get_object_or_404(Outgoing, pk=pk, user=user)
    if not decide.undo(user, pk):
        messages.warning(request, _("Too late: this mail is on its way."))
        return SeeOther(reverse("compose:outbox"))
    messages.success(request, _("Taken back. Nothing was sent."))
    if row.draft_id is None:
        return SeeOther(reverse("compose:outbox"))
    return SeeOther(reverse("compose:draft", args=[row.draft_id]))


# --------------------------------------------------------------------------- the outbox


@never_cache
@require_safe
@signed_in
def outbox(request: HttpRequest) -> HttpResponse:
    """``compose/outbox.html``, and ``compose/_outbox_list.html`` for HTMX."""
    _wake(request)
    return _outbox_answer(request)


def _outbox_answer(request: HttpRequest) -> HttpResponse:
    template = "compose/_outbox_list.html" if is_fragment(request) else "compose/outbox.html"
    holder = ours(request).holder
    return render(request, template, listing.context(_user(request), holder))


def _wake(request: HttpRequest) -> None:
    """Looking at the outbox rings for what is due, and wakes the agent of an unlocked session that
    a restart or a pause took away: held mail then goes on."""
    now = timezone.now()
    due = Outgoing.objects.filter(
        user=_user(request), state=State.QUEUED, due_at__lte=now, claim__isnull=True
    )
    found = list(due.values_list("pk", "held")[:20])
    if any(held == "locked" for _pk, held in found):
        holder = ours(request).holder
        if holder is None:
            return
        try:
            with door.background():
                door.call(holder, "ping", {})
        except ProtocolError:
            return
    for pk, _held in found:
        due.filter(pk=pk).update(next_at=now)
        machine.ring(pk)


@never_cache
@require_POST
@signed_in
def outbox_act(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """``action``: retry, cancel, arrived, resend or not_sent."""
    user = _user(request)
    row = get_object_or_404(Outgoing, pk=pk, user=user)
    name = request.POST.get("action", "")
    act = decide.ACTIONS.get(name)
    done = act is not None and act(user, pk)
    if not done:
        messages.warning(request, _("This mail moved on meanwhile. Look again."))
    elif name in {"cancel", "not_sent"} and row.draft_id is not None and not is_fragment(request):
        return SeeOther(reverse("compose:draft", args=[row.draft_id]))
    if is_fragment(request):
        return _outbox_answer(request)
    return SeeOther(reverse("compose:outbox"))
