"""Forms of the settings page."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings

from webmail.accounts.models import User

if TYPE_CHECKING:
    UserForm = forms.ModelForm[User]
else:
    UserForm = forms.ModelForm


class SettingsForm(UserForm):
    """What people set for themselves."""

    class Meta:
        model = User
        fields = ["display_name", "language", "time_zone", "undo_send_seconds", "signature_text"]
        widgets = {"signature_text": forms.Textarea(attrs={"rows": 4})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if len(settings.LANGUAGES) == 1:
            del self.fields["language"]
        zones = sorted(zoneinfo.available_timezones() - {"localtime", "posixrules"})
        self.fields["time_zone"] = forms.ChoiceField(
            label=self.fields["time_zone"].label, choices=[(zone, zone) for zone in zones]
        )
        self.fields["undo_send_seconds"].widget = forms.NumberInput(attrs={"min": 0, "max": 60})
