"""Debian packages which the embedded default and the tests start programs from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"

PACKAGES_OF_DEMO = {
    "redis-server": "redis-server",
    "dovecot": "dovecot-core",
    "/usr/lib/dovecot/imap": "dovecot-imapd",
    "/usr/lib/dovecot/lmtp": "dovecot-lmtpd",
    "openssl": "openssl",
    "faketime": "faketime",
}
"""Program → the package that brings it."""

PACKAGES_OF_TESTS = PACKAGES_OF_DEMO | {
    "chromium": "chromium",
    "gpgsm": "gpgsm",
    "gpg-agent": "gpg-agent",
    "cmsutil": "libnss3-tools",
    "javac": "default-jdk-headless",
    "/usr/share/java/bcpkix.jar": "libbcpkix-java",
    "/usr/lib/postgresql": "postgresql",
    "/usr/lib/rabbitmq/bin/rabbitmq-server": "rabbitmq-server",
}


def is_there(program: str) -> bool:
    if program.startswith("/"):
        return os.path.exists(program)
    return shutil.which(program, path=SEARCH_PATH) is not None


def missing_packages(wanted: dict[str, str]) -> list[str]:
    return sorted({package for program, package in wanted.items() if not is_there(program)})


def _quietly(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )


def install(wanted: dict[str, str]) -> None:
    """Install what is missing when run as root on Debian; else say exactly what to install."""
    missing = missing_packages(wanted)
    if not missing:
        return
    command = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"Some programs are missing. As root, run:\n    {command}")
    print(f"Installing {', '.join(missing)} …", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    _quietly(["apt-get", "update", "-qq"], environment)
    done = _quietly(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], environment
    )
    if done.returncode != 0 or missing_packages(wanted):
        sys.exit(f"{command}\nfailed: {done.stderr.decode('utf-8', 'replace')[-800:]}")


if __name__ == "__main__":
    install(PACKAGES_OF_TESTS if "tests" in sys.argv[1:] else PACKAGES_OF_DEMO)
