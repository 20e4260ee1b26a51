"""Settings of an agent node, read once from the environment; secrets also from ``NAME_FILE``."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_SECRET_BYTES: Final = 32
_NODE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


class ConfigError(Exception):
    """A setting is missing or unusable; the text says what to do."""


def _text(environment: Mapping[str, str], name: str, default: str = "") -> str:
    value = environment.get(name, "")
    if value:
        return value
    path = environment.get(f"{name}_FILE", "")
    if not path:
        return default
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{name}_FILE names {path}, which cannot be read.") from error


def _number(environment: Mapping[str, str], name: str, default: float, low: float) -> float:
    text = _text(environment, name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"{name} is not a number. Unset it for the default.") from error
    if not value >= low:
        raise ConfigError(f"{name} is below {low:g}. Unset it for the default.")
    return value


def _secret(environment: Mapping[str, str], name: str) -> bytes:
    text = _text(environment, name)
    if not text:
        raise ConfigError(f"{name} is not set. Name its file in {name}_FILE.")
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{name} is not base64. Make one: openssl rand -base64 32") from error
    if len(secret) != _SECRET_BYTES:
        raise ConfigError(f"{name} must hold 32 bytes. Make one: openssl rand -base64 32")
    return secret


def _uids(text: str) -> tuple[int, int] | None:
    """``first-last``, or nothing."""
    if not text:
        return None
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if match is None or not 1000 <= int(match[1]) < int(match[2]):
        raise ConfigError("SEALPOST_AGENT_UIDS must read as first-last, for example 700000-709999.")
    return int(match[1]), int(match[2])


def _node_name(text: str) -> str:
    if not _NODE_NAME.fullmatch(text):
        raise ConfigError("SEALPOST_NODE must be made of a-z, 0-9 and hyphens.")
    return text


@dataclass(frozen=True)
class SupervisorConfig:
    """What a supervisor needs to know."""

    node: str
    socket_path: Path
    state_folder: Path
    """Sealed state files of the service agents, and the key file beside them."""
    deployment_secret: bytes = field(repr=False)
    service_key_file: Path | None = None
    """32 octets in base64 that seal the state files; made at first start when absent."""
    peers: frozenset[int] = frozenset()
    """User ids besides our own and root's that may speak to the socket (the relay's)."""
    uids: tuple[int, int] | None = None
    """Range of user ids for agents, used when started as root."""
    idle_s: float = 900.0
    absolute_s: float = 36_000.0
    max_agents: int = 500
    memory_mb: int = 1536
    """Address space an agent may add to what it was forked with: a 100 MB message several times."""
    cpu_s: int = 60
    """Processor seconds one request may take."""
    failures: int = 10
    failure_window_s: float = 900.0
    services: tuple[str, ...] = ("verifier", "authority", "timestamp", "postmaster")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> SupervisorConfig:
        """Raises ConfigError with one sentence that says what to do."""
        state = Path(_text(environment, "SEALPOST_STATE", "var")).resolve()
        key_file = environment.get("SEALPOST_SERVICE_KEY_FILE", "")
        peers = _text(environment, "SEALPOST_AGENT_PEERS")
        services = _text(environment, "SEALPOST_SERVICES", ",".join(cls.services))
        return cls(
            node=_node_name(_text(environment, "SEALPOST_NODE", "main")),
            socket_path=Path(
                _text(environment, "SEALPOST_AGENT_SOCKET", str(state / "agent.sock"))
            ),
            state_folder=Path(_text(environment, "SEALPOST_AGENT_STATE", str(state / "services"))),
            service_key_file=Path(key_file) if key_file else None,
            deployment_secret=_secret(environment, "SEALPOST_DEPLOYMENT_SECRET"),
            peers=frozenset(int(uid) for uid in peers.split(",") if uid.strip().isdigit()),
            uids=_uids(_text(environment, "SEALPOST_AGENT_UIDS")),
            idle_s=_number(environment, "SEALPOST_SESSION_IDLE", cls.idle_s, 0.5),
            absolute_s=_number(environment, "SEALPOST_SESSION_ABSOLUTE", cls.absolute_s, 0.5),
            max_agents=int(_number(environment, "SEALPOST_MAX_AGENTS", cls.max_agents, 1)),
            memory_mb=int(_number(environment, "SEALPOST_AGENT_MEMORY_MB", cls.memory_mb, 128)),
            cpu_s=int(_number(environment, "SEALPOST_AGENT_CPU", cls.cpu_s, 1)),
            services=tuple(name for name in services.split(",") if name),
        )

    @property
    def key_file(self) -> Path:
        return self.service_key_file or self.state_folder / "key"


@dataclass(frozen=True)
class RelayConfig:
    """What a relay needs to know. It holds no secret."""

    node: str
    broker: str
    results: str
    socket_path: Path
    spool_folder: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> RelayConfig:
        """Raises ConfigError with one sentence that says what to do."""
        state = Path(_text(environment, "SEALPOST_STATE", "var")).resolve()
        broker = _text(environment, "SEALPOST_BROKER", f"redis+socket://{state / 'redis.sock'}")
        return cls(
            node=_node_name(_text(environment, "SEALPOST_NODE", "main")),
            broker=broker,
            results=_text(
                environment,
                "SEALPOST_RESULTS",
                broker if broker.startswith("redis") else "rpc://",
            ),
            socket_path=Path(
                _text(environment, "SEALPOST_AGENT_SOCKET", str(state / "agent.sock"))
            ),
            spool_folder=Path(_text(environment, "SEALPOST_SPOOL", str(state / "spool"))),
        )
