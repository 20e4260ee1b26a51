"""Sealpost: the web side."""

from __future__ import annotations

from webmail.celery import app as celery_app

__all__ = ["celery_app"]
