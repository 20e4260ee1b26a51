"""A private RabbitMQ in a temporary folder, on loopback only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.ports import free_ports
from tests.support.servers import short_folder

# Debian's wrapper in /usr/sbin would change to the package's user and its folders.
PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
START_S = 60.0


@contextmanager
def running_rabbitmq() -> Iterator[str]:
    """Yields an ``amqp://`` address; the virtual host is empty."""
    with short_folder() as folder:
        port, distribution, mapper = free_ports(3)
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
        (folder / "plugins").write_text("[].\n")
        environment = os.environ | {
            "HOME": str(folder),  # the cookie of Erlang's nodes
            "RABBITMQ_NODENAME": f"sealpost{port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        log = folder / "output"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [PROGRAM], env=environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            _wait(process, port, log)
            yield f"amqp://guest:guest@127.0.0.1:{port}//"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
            subprocess.run(["epmd", "-port", str(mapper), "-kill"], check=False, env=environment,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"AMQP\0\0\x09\1")
                if connection.recv(1):
                    return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"RabbitMQ did not start:\n{log.read_text()[-2000:]}")
