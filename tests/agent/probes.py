"""What a process may still do: run as a program, free or hardened like an agent.

``python -m tests.agent.probes free|agent|walls`` prints JSON: probe → "done" or the error's name.
``agent`` hardens as a user's agent is; ``walls`` only as the zygote is (everything but seccomp), so
that each wall is seen to hold alone.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from crypto_agent import harden

_libc = ctypes.CDLL(None, use_errno=True)
_PTRACE_ATTACH = 16
_PARENT = os.getppid()


def _call(name: str, *arguments: Any) -> int:
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def _fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _spawn() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)


def _read_parents_memory() -> None:
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_size_t * 2)(_address(), 8)
    _call("process_vm_readv", _PARENT, local, 1, remote, 1, 0)


def _address() -> int:
    """Somewhere that the parent has memory at, noted before any wall was built."""
    return _parents_memory


with open(f"/proc/{_PARENT}/maps") as maps:
    _parents_memory = int(maps.readline().split("-")[0], 16)


def _attach() -> None:
    _call("ptrace", _PTRACE_ATTACH, _child, 0, 0)
    os.waitpid(_child, 0)


def _executable_memory() -> None:
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE) as region:
        address = ctypes.addressof(ctypes.c_char.from_buffer(region))
        _call("mprotect", ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_EXEC)


def _new_executable_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _write(path: str) -> None:
    with open(path, "wb") as file:
        file.write(b"x")


def _tcp() -> None:
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", _port))


def _use_inherited_tcp() -> None:
    _tcp_socket.connect(("127.0.0.1", _port))


_listener = socket.create_server(("127.0.0.1", 0))
_port = _listener.getsockname()[1]
_tcp_socket = socket.socket()
_ends = socket.socketpair()
_reading, _writing = os.pipe()
_child = os.fork()
if _child == 0:
    # PR_SET_PDEATHSIG would not reach it: Landlock keeps a dying parent from signalling out, too.
    os.close(_writing)
    os.read(_reading, 1)
    os._exit(0)

PROBES: dict[str, Callable[[], Any]] = {
    # what an agent must not do
    "open a file": lambda: open("/etc/passwd").close(),
    "write a file": lambda: _write("/tmp/probe"),
    "list a folder": lambda: os.listdir("/"),
    "look at another process": lambda: os.listdir(f"/proc/{_PARENT}/fd"),
    "make a TCP socket": _tcp,
    "connect an inherited TCP socket": _use_inherited_tcp,
    "make a unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "start a program": _spawn,
    "fork": _fork,
    "trace a child": _attach,
    "read another's memory": _read_parents_memory,
    "signal another": lambda: os.kill(_PARENT, 0),
    "make memory executable": _executable_memory,
    "map executable memory": _new_executable_memory,
    # what it must be able to do
    "speak over an inherited socket": lambda: _ends[0].send(b"x"),
    "allocate memory": lambda: bytearray(1 << 20),
    "know the time": lambda: os.times(),
    "draw random octets": lambda: os.urandom(16),
}


def main() -> None:
    how = sys.argv[1]
    filters = harden.compile_seccomp()
    report: dict[str, str] = {}
    if how != "free":
        report = harden.harden_parent(memory_mb=256)
    if how == "agent":
        kept = (_tcp_socket, *_ends)
        keep = [1, 2, _writing, *(connection.fileno() for connection in kept)]
        report |= harden.harden_child(keep=keep, seccomp=filters, uid=None)
    done = {}
    for name, probe in PROBES.items():
        try:
            probe()
        except OSError as error:
            done[name] = errno.errorcode.get(error.errno or 0, "EACCES")
        else:
            done[name] = "done"
    try:
        bytearray(600 << 20)
    except MemoryError:
        done["allocate without end"] = "refused"
    else:
        done["allocate without end"] = "done"
    os.write(1, json.dumps({"report": report, "done": done}).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
