"""Every error code as one sentence and what to do, for people."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from crypto_agent.protocol import ErrorCode

_SENTENCES = {
    ErrorCode.WRONG_PASSWORD: (
        _("This password does not open your mail."),
        _("Check Caps Lock and try again. With your recovery code you can set a new password."),
    ),
    ErrorCode.RATE_LIMITED: (
        _("Too many wrong passwords."),
        _("Wait 15 minutes and try again. Nothing is lost."),
    ),
    ErrorCode.BROKER_GONE: (
        _("The message broker does not answer."),
        _("Try again in a minute. If it stays, tell your administrator."),
    ),
    ErrorCode.NOT_UNLOCKED: (
        _("Your mail is locked."),
        _("Enter your password to unlock it."),
    ),
    ErrorCode.AGENT_GONE: (
        _("The process that holds your keys has ended."),
        _("Try again; if you are asked for your password, enter it."),
    ),
    ErrorCode.NODE_GONE: (
        _("The key service is not running."),
        _("Try again in a minute. If it stays, tell your administrator."),
    ),
    ErrorCode.TIMEOUT: (
        _("The key service did not answer in time."),
        _("Try again. If it happens with one message only, tell your administrator."),
    ),
    ErrorCode.EXPIRED: (
        _("The request took too long and was dropped."),
        _("Try again."),
    ),
    ErrorCode.REPLAYED: (
        _("A request arrived twice, and the second was refused."),
        _("Try again. If it happens often, tell your administrator."),
    ),
    ErrorCode.FORGED: (
        _("A request or answer was not genuine and was refused."),
        _("Tell your administrator: somebody may be interfering, or the secrets of the servers "
          "differ."),
    ),
    ErrorCode.WRONG_SESSION: (
        _("This browser's session does not fit."),
        _("Sign out and sign in again."),
    ),
    ErrorCode.UNKNOWN_OPERATION: (
        _("The key service does not know this request."),
        _("Tell your administrator: its parts may be of different versions."),
    ),
    ErrorCode.UNSUPPORTED_VERSION: (
        _("The parts of this system are of different versions."),
        _("Tell your administrator: web, worker and key service must be updated together."),
    ),
    ErrorCode.TOO_LARGE: (
        _("This message is too large."),
        _("Download it as a file, or send the attachments in several messages."),
    ),
    ErrorCode.TOO_COMPLEX: (
        _("This message is too complex to be shown safely."),
        _("Download it as a file and open it elsewhere if you trust the sender."),
    ),
    ErrorCode.OVERLOADED: (
        _("The key service has no free place at the moment."),
        _("Try again in a minute."),
    ),
    ErrorCode.BAD_REQUEST: (
        _("The key service could not read this request."),
        _("Try again. If it stays, tell your administrator."),
    ),
    ErrorCode.DECRYPT_FAILED: (
        _("This message cannot be decrypted."),
        _("Ask the sender to send it again."),
    ),
    ErrorCode.NO_MATCHING_KEY: (
        _("This message was encrypted for a key you do not have."),
        _("Ask the sender to use your current certificate."),
    ),
    ErrorCode.CERTIFICATE_REFUSED: (
        _("This certificate cannot be used."),
        _("Ask its owner for a new one."),
    ),
    ErrorCode.VAULT_DAMAGED: (
        _("Your stored keys are damaged."),
        _("Tell your administrator: they can be restored from a backup."),
    ),
    ErrorCode.INTERNAL: (
        _("Something went wrong in the key service."),
        _("Try again. If it stays, tell your administrator the time and this page."),
    ),
}  # fmt: skip


def explain(code: ErrorCode | str) -> tuple[str, str]:
    """Sentence and hint for an error code, in the reader's language."""
    sentence, hint = _SENTENCES[ErrorCode(code)]
    return str(sentence), str(hint)
