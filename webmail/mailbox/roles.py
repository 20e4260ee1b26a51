"""Which folder is for what: the server's own word first (RFC 6154), then the usual names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from webmail.mailbox.imap import ListedFolder
from webmail.mailbox.models import Role

_BY_FLAG: Final = {
    "\\drafts": Role.DRAFTS,
    "\\sent": Role.SENT,
    "\\archive": Role.ARCHIVE,
    "\\junk": Role.JUNK,
    "\\trash": Role.TRASH,
}

_BY_NAME: Final = {
    Role.DRAFTS: ("drafts", "draft", "entwürfe", "brouillons", "borradores", "草稿箱", "草稿"),
    Role.SENT: (
        "sent",
        "sent items",
        "sent messages",
        "sent mail",
        "gesendet",
        "gesendete elemente",
        "envoyés",
        "enviados",
        "已发送",
        "已发邮件",
    ),
    Role.ARCHIVE: ("archive", "archives", "archiv", "archivo", "归档", "存档"),
    Role.JUNK: ("junk", "spam", "junk e-mail", "junk email", "bulk mail", "垃圾邮件"),
    Role.TRASH: (
        "trash",
        "deleted items",
        "deleted messages",
        "deleted",
        "bin",
        "papierkorb",
        "corbeille",
        "papelera",
        "已删除",
        "已删除邮件",
    ),
}

DEFAULT_NAMES: Final = {
    Role.DRAFTS: "Drafts",
    Role.SENT: "Sent",
    Role.ARCHIVE: "Archive",
    Role.JUNK: "Junk",
    Role.TRASH: "Trash",
}
"""What a missing folder is created as."""


def roles(folders: Sequence[ListedFolder]) -> dict[str, Role]:
    """Folder name → role; each role once, INBOX always."""
    found: dict[str, Role] = {}
    for folder in folders:
        if folder.name == "INBOX":
            found[folder.name] = Role.INBOX
    for folder in folders:
        for flag, role in _BY_FLAG.items():
            if flag in folder.flags and role not in found.values():
                found.setdefault(folder.name, role)
    for role, names in _BY_NAME.items():
        if role in found.values():
            continue
        for folder in sorted(folders, key=lambda each: len(each.name)):
            leaf = folder.name.rsplit(folder.delimiter, 1)[-1] if folder.delimiter else folder.name
            if folder.name not in found and leaf.lower() in names and selectable(folder):
                found[folder.name] = role
                break
    return found


def selectable(folder: ListedFolder) -> bool:
    return not folder.flags & {"\\noselect", "\\nonexistent"}
