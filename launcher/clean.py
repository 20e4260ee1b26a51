"""``make clean``: remove the demo's data, also the mail folder where it had to lie elsewhere."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from launcher.dovecot import mail_folder


def main() -> None:
    state = Path(os.environ.get("SEALPOST_STATE", "var")).resolve()
    if (state / "redis.sock").exists() and _somebody_listens(state / "redis.sock"):
        raise SystemExit("The demo is running. Stop it with Ctrl-C first, then run: make clean")
    for folder in (mail_folder(state / "mail"), state):
        shutil.rmtree(folder, ignore_errors=True)


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    main()
