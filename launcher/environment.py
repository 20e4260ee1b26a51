"""The environment of all processes of the embedded default, and the secrets in its folder."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

SECRET_FILES = {
    "SEALPOST_SECRET_KEY_FILE": "secret_key",
    "SEALPOST_DEPLOYMENT_SECRET_FILE": "deployment_secret",
    "SEALPOST_SERVER_KEYS_FILE": "server_keys",
    "SEALPOST_SERVICE_KEY_FILE": "service_key",
}
"""Setting → file under ``secrets/``. Each holds 32 random bytes in base64, made on first start."""

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")

OVERWRITE_FREED = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0",
}
"""For the web, through which passwords pass: what any library frees is overwritten. Python's own
allocator cannot do that, hence it is not used. ``docs/password-in-memory.md`` has the figures."""


def make_secrets(folder: Path) -> dict[str, str]:
    """Create the missing secret files (mode 0600) and return the settings that name them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in SECRET_FILES.values():
        try:
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)) + b"\n")
    return {setting: str(folder / name) for setting, name in SECRET_FILES.items()}


def make_environment(
    state: Path, settings: Mapping[str, str], *, caller: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What every process gets: little of the caller's environment, all of Sealpost's settings.

    A setting that ``caller`` names (``SEALPOST_…``, ``DATABASE_URL``) wins over the defaults of the
    embedded system.
    """
    state.mkdir(parents=True, exist_ok=True)
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= make_secrets(state / "secrets")
    environment |= {
        "DJANGO_SETTINGS_MODULE": "webmail.settings",
        "PYTHONUNBUFFERED": "1",
        "SEALPOST_STATE": str(state),
        "SEALPOST_BROKER": f"redis+socket://{state / 'redis.sock'}",
        "SEALPOST_SPOOL": str(state / "spool"),
        "SEALPOST_AGENT_SOCKET": str(state / "agent.sock"),
        "SEALPOST_AGENT_STATE": str(state / "services"),
        "SEALPOST_NODE": "node1",
    }
    environment |= settings
    for name, value in caller.items():
        if name.startswith("SEALPOST_") or name == "DATABASE_URL":
            environment.pop(f"{name}_FILE", None)
            environment[name] = value
    return environment


WEB_ONLY = (
    "DJANGO_SETTINGS_MODULE",
    "DATABASE_URL",
    "SEALPOST_SECRET_KEY",
    "SEALPOST_SECRET_KEY_FILE",
    "SEALPOST_SERVER_KEYS",
    "SEALPOST_SERVER_KEYS_FILE",
)
"""What supervisor and relay have no business with: the web's secrets and its database. Celery would
also load Django into the relay for the first of them."""


def agent_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of the environment that the processes of an agent node get."""
    return {name: value for name, value in environment.items() if name not in WEB_ONLY}
