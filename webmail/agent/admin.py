"""The agent nodes in the admin: each is asked how it is when the list is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from crypto_agent.protocol import ProtocolError
from webmail.agent import door
from webmail.agent.models import Node
from webmail.agent.sentences import explain
from webmail.lib.look_only import LookOnly

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django_stubs_ext import StrOrPromise

    NodeAdminBase = ModelAdmin[Node]
else:
    NodeAdminBase = admin.ModelAdmin


@admin.register(Node)
class NodeAdmin(LookOnly, NodeAdminBase):
    """Nodes make their own rows; there is nothing to type."""

    list_display = ["name", "state", "unlocked", "services", "unprotected", "seen_at"]
    list_display_links = None
    fields = ["name", "seen_at"]
    actions = None

    @admin.display(description=_("state"))
    def state(self, node: Node) -> StrOrPromise:
        told = _told(node)
        return explain(told.code)[0] if isinstance(told, ProtocolError) else _("answers")

    @admin.display(description=_("people unlocked"))
    def unlocked(self, node: Node) -> int | None:
        told = _told(node)
        return None if isinstance(told, ProtocolError) else int(told["agents"])

    @admin.display(description=_("services"))
    def services(self, node: Node) -> str:
        told = _told(node)
        return "" if isinstance(told, ProtocolError) else ", ".join(sorted(told["services"]))

    @admin.display(description=_("protections that its system lacks"))
    def unprotected(self, node: Node) -> StrOrPromise:
        told = _told(node)
        if isinstance(told, ProtocolError):
            return ""
        lacking = [
            f"{name}: {why}" for name, why in sorted(told["hardening"].items()) if why != "on"
        ]
        return "; ".join(lacking) or _("none")


def _told(node: Node) -> dict[str, Any] | ProtocolError:
    """The node's answer, asked for once per row and page."""
    if "told" not in node.__dict__:
        try:
            node.__dict__["told"] = door.status_of(node)
        except ProtocolError as error:
            node.__dict__["told"] = error
    found: dict[str, Any] | ProtocolError = node.__dict__["told"]
    return found
