"""The private mail server of the demo and the tests: Debian's Dovecot, unprivileged, on loopback.

IMAP for Sealpost, LMTP for delivery. Dovecot refuses to open mail as root, so a root caller gets it
run as ``nobody``.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import smtplib
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from launcher.ports import free_ports
from launcher.processes import RunAs

START_SECONDS = 10.0

CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = 1
first_valid_gid = 0
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
auth_cache_size = 0
auth_verbose = no
mail_home = {folder}/home/%u
mail_location = mdbox:~/mdbox
mail_uid = {user}
mail_gid = {group}
mail_max_userip_connections = 200
mail_plugins =
mail_always_cache_fields = imap.envelope imap.bodystructure date.received
recipient_delimiter = +
submission_host =
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Drafts {{
    special_use = \\Drafts
    auto = subscribe
  }}
  mailbox Sent {{
    special_use = \\Sent
    auto = subscribe
  }}
  mailbox Archive {{
    special_use = \\Archive
    auto = subscribe
  }}
  mailbox Junk {{
    special_use = \\Junk
    auto = subscribe
  }}
  mailbox Trash {{
    special_use = \\Trash
    auto = subscribe
  }}
}}
service auth {{
  client_limit = 4000
}}
service anvil {{
  client_limit = 4000
  chroot =
}}
service imap-login {{
  chroot =
  service_count = 0
  process_min_avail = 1
  client_limit = 1000
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  process_limit = 1024
  client_limit = 1
  service_count = 1000
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp_port}
  }}
}}
service stats {{
  chroot =
}}
protocol lmtp {{
  mail_plugins =
  hostname = localhost
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """A running private Dovecot."""

    process: subprocess.Popen[bytes]
    folder: Path
    imap_port: int
    lmtp_port: int

    def add_user(self, address: str, password: str) -> None:
        """Add or replace a mailbox; Dovecot rereads the file by itself."""
        add_user(self.folder, address, password)

    def deliver(self, recipient: str, mail: bytes) -> None:
        """Deliver raw bytes by LMTP (RFC 2033), byte for byte."""
        deliver(self.lmtp_port, "demo@localhost", [recipient], mail)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def deliver(lmtp_port: int, sender: str, recipients: list[str], mail: bytes) -> None:
    """Hand ``mail`` to the LMTP listener. Raises smtplib.SMTPException when it is refused."""
    with smtplib.LMTP("127.0.0.1", lmtp_port, timeout=30) as lmtp:
        lmtp.sendmail(sender, recipients, mail)


def add_user(folder: Path, address: str, password: str) -> None:
    users = folder / "users"
    lines = users.read_text().splitlines() if users.exists() else []
    lines = [line for line in lines if not line.startswith(f"{address}:")]
    lines.append(f"{address}:{{PLAIN}}{password}::::::")
    partial = users.with_suffix(".partial")
    partial.write_text("\n".join(lines) + "\n")
    partial.chmod(0o640)
    if os.geteuid() == 0:
        shutil.chown(partial, "nobody", "nogroup")
    partial.rename(users)


def _run_as() -> tuple[str, str]:
    if os.geteuid() == 0:
        return "nobody", "nogroup"
    entry = pwd.getpwuid(os.geteuid())
    import grp

    return entry.pw_name, grp.getgrgid(entry.pw_gid).gr_name


def mail_folder(wanted: Path) -> Path:
    """``wanted``, or a folder under the system's temporary one when ``nobody`` could not reach it.

    Also unix socket names must stay below 108 bytes, which deep folders exceed.
    """
    wanted = wanted.resolve()
    reachable = os.geteuid() != 0 or all(
        parent.stat().st_mode & 0o001 for parent in wanted.parents if parent.exists()
    )
    if reachable and len(str(wanted)) < 70:
        return wanted
    digest = hashlib.sha256(str(wanted).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"sealpost-mail-{digest}"


def write_configuration(folder: Path, imap_port: int, lmtp_port: int) -> Path:
    user, group = _run_as()
    for name in ("run", "state", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / "dovecot.conf"
    path.write_text(
        CONFIGURATION.format(
            folder=folder, user=user, group=group, imap_port=imap_port, lmtp_port=lmtp_port
        )
    )
    (folder / "users").touch(mode=0o640)
    if os.geteuid() == 0:
        for entry in [folder, *folder.rglob("*")]:
            shutil.chown(entry, user, group)
    return path


def dovecot_command(configuration: Path) -> list[str]:
    program = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise RuntimeError(
            "Dovecot is not installed. Run: apt-get install dovecot-imapd dovecot-lmtpd"
        )
    return [program, "-F", "-c", str(configuration)]


def run_as_nobody() -> RunAs:
    """What user to run Dovecot as."""
    if os.geteuid() == 0:
        user, group = _run_as()
        return {"user": user, "group": group, "extra_groups": []}
    return {}


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when something listens on ``port``; RuntimeError if ``process`` ends or 10 s pass."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"the server for port {port} ended at start") from None
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing listens on port {port}") from None
            time.sleep(0.02)


def start_dovecot(
    folder: Path,
    users: Mapping[str, str],
    *,
    imap_port: int = 0,
    lmtp_port: int = 0,
    log: IO[bytes] | int = subprocess.DEVNULL,
) -> Dovecot:
    """Start a private Dovecot with ``users`` (address → password); port 0 means any free one."""
    folder = mail_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ports = free_ports(2)
    imap_port, lmtp_port = imap_port or ports[0], lmtp_port or ports[1]
    configuration = write_configuration(folder, imap_port, lmtp_port)
    for address, password in users.items():
        add_user(folder, address, password)
    process = subprocess.Popen(
        dovecot_command(configuration),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        **run_as_nobody(),
    )
    wait_for_port(imap_port, process)
    wait_for_port(lmtp_port, process)
    return Dovecot(process, folder, imap_port, lmtp_port)
