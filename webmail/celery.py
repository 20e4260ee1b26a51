"""The Celery application of web, worker and beat. The broker is a doorbell: tasks carry ids."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webmail.settings")

from django.conf import settings

app = Celery("webmail")
app.conf.update(
    broker_url=settings.BROKER_URL,
    result_backend=settings.RESULT_BACKEND,
    accept_content=["json"],
    result_accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    result_expires=180,
    task_send_sent_event=False,
    worker_send_task_events=False,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_default_queue="worker",
    task_ignore_result=True,
    task_time_limit=120,
    task_soft_time_limit=100,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=3,
    broker_transport_options={
        "visibility_timeout": 300,
        # A dead broker is told within seconds; longer than the 1 s for which kombu's reads block.
        "socket_connect_timeout": 3,
        "socket_timeout": 10,
    },
    redis_socket_connect_timeout=3,
    redis_socket_timeout=10,
    redis_retry_on_timeout=False,
    result_backend_transport_options={
        "retry_policy": {"max_retries": 1, "interval_start": 0.1, "timeout": 3.0}
    },
    worker_hijack_root_logger=False,
    # Whoever writes to the broker may drop work, not end or question the worker.
    worker_enable_remote_control=False,
    timezone="UTC",
    beat_schedule={
        "revocation-lists": {
            "task": "webmail.authority.refresh_lists",
            "schedule": 600,  # a revocation whose doorbell was lost waits this long at most
            "options": {"expires": 600},
        },
        "sync-mail": {
            "task": "webmail.mailbox.sync_due",
            "schedule": settings.SYNC_INTERVAL_SECONDS,
            "options": {"expires": settings.SYNC_INTERVAL_SECONDS},
        },
        "refresh-certificates": {
            "task": "certificates.refresh_due",
            "schedule": 60,
            "options": {"expires": 60},
        },
        "sweep-outbox": {
            "task": "compose.sweep",
            "schedule": 5,  # the undo window ends here, and lost doorbells are rung again
            "options": {"expires": 5},
        },
        "sweep-sessions": {
            "task": "webmail.agent.tasks.sweep_sessions",
            "schedule": 30,
            "options": {"expires": 30},
        },
        "forget-ended-sign-ins": {
            "task": "webmail.accounts.forget_ended",
            "schedule": 3600,
            "options": {"expires": 3600},
        },
        "sweep-nodes": {
            "task": "webmail.agent.tasks.sweep_nodes",
            "schedule": 60,
            "options": {"expires": 60},
        },
        "sweep-spool": {
            "task": "webmail.agent.tasks.sweep_spool",
            "schedule": 120,
            "options": {"expires": 120},
        },
    },
)
app.autodiscover_tasks()
