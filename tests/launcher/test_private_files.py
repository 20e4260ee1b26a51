"""Another user of the machine reads nothing of what Sealpost writes."""

from __future__ import annotations

from pathlib import Path

from launcher.embedded import Sealpost
from launcher.processes import Launcher, python

WRITE = "import os, sys; open(sys.argv[1], 'w').close(); os.mkdir(sys.argv[1] + '.d')"


def others(path: Path) -> int:
    """What group and others may do."""
    return path.stat().st_mode & 0o077


def test_what_processes_write_is_for_their_user_alone(tmp_path: Path) -> None:
    launcher = Launcher(tmp_path / "log", {})
    written = tmp_path / "by-process"
    process = launcher.add("writer", python("-c", WRITE, str(written)))
    assert process.popen is not None
    process.popen.wait(20)
    launcher.run(python("-c", WRITE, str(tmp_path / "by-command")))
    for path in (written, tmp_path / "by-command", tmp_path / "log"):
        assert others(path) == 0, path
        assert path == tmp_path / "log" or others(path.with_name(path.name + ".d")) == 0


def test_the_folder_can_be_passed_through_and_not_be_listed(tmp_path: Path) -> None:
    state = tmp_path / "var"
    state.mkdir(mode=0o755)
    Sealpost(state, port=1, settings={}, caller={})
    assert others(state) == 0o011
    secrets = list((state / "secrets").iterdir())
    assert secrets
    assert all(others(path) == 0 for path in [*secrets, state / "secrets"])
