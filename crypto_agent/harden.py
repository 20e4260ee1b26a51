"""What an agent process gives up before the first key reaches it.

Each measure says what it is for. What the platform lacks is reported, not hidden: it travels to the
health page through ``status``. Two failures do stop the process: core dumps that cannot be
forbidden, and a user id that cannot be given up.

What is inherited is given up once, by the zygote (:func:`harden_parent`): that makes forks cheaper,
and the process that holds the node's key is behind the same wall.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_MDWE: Final = 65
_PR_MDWE_REFUSE_EXEC_GAIN: Final = 1
_SECCOMP_MODE_FILTER: Final = 2
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4

_SYS_LANDLOCK_CREATE_RULESET: Final = 444
_SYS_LANDLOCK_RESTRICT_SELF: Final = 446
_LANDLOCK_CREATE_RULESET_VERSION: Final = 1
_LANDLOCK_FS_BITS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Landlock ABI → how many file access rights it knows; all of them are denied."""
_LANDLOCK_NET_BITS: Final = 0b11
"""ABI 4: bind and connect of TCP."""
_LANDLOCK_SCOPES: Final = 0b11
"""ABI 6: abstract unix sockets and signals to processes outside."""

ALLOWED_CALLS: Final = (
    # speak over the inherited sockets
    "read", "write", "readv", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg", "close",
    "shutdown", "getsockopt", "setsockopt", "getsockname", "getpeername", "poll", "ppoll",
    "select", "pselect6", "fcntl", "lseek", "fstat", "dup",
    # memory and threads
    "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "futex", "sched_yield", "mlock",
    "munlock", "set_robust_list", "rseq", "sched_getaffinity", "membarrier",
    # time, chance, identity of oneself, limits on oneself
    "getrandom", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday",
    "time", "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "uname",
    "sysinfo", "getrusage", "times", "prlimit64", "getrlimit", "setrlimit",
    # signals and the end
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "exit",
    "exit_group", "tgkill",
)  # fmt: skip
"""Everything else is refused with EPERM: opening anything, socket, connect, execve, fork, ptrace,
process_vm_readv, kill of others, ..."""

_FIONBIO: Final = 0x5421
_CLONE_THREAD: Final = 0x00010000
_ENOSYS: Final = 38
_EPERM: Final = 1
_DESCRIPTORS_END: Final = 1 << 20
"""Above every descriptor; close_range takes the whole range at once."""
_PROT_EXEC: Final = 4


_TUNABLES: Final = "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"
"""What is freed is filled with 0xFF, what is allocated with 0. What goes to the per-thread cache is
not filled (seen in glibc 2.36), so there is none."""


class HardeningError(Exception):
    """The process may not take a key."""


def overwrite_freed_memory() -> None:
    """Run this program again, as the same process, with a malloc that overwrites what it frees.

    OpenSSL and the libraries around it copy passwords into buffers that they free as they are. The
    C library reads the setting when a program starts, hence the second start. Returns in the second
    one, and where there is no such C library.
    """
    if os.environ.get("GLIBC_TUNABLES") == _TUNABLES:
        return
    os.environ["GLIBC_TUNABLES"] = _TUNABLES
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


def overwrites_freed_memory() -> str:
    """ "on" when freed memory was seen to be overwritten, else what is missing."""
    size = 256
    _libc.malloc.restype = ctypes.c_void_p
    block = ctypes.c_void_p(_libc.malloc(size))
    ctypes.memset(block, 1, size)
    _libc.free(block)
    # The first octets of a freed block are the allocator's own.
    assert block.value is not None
    if 1 in ctypes.string_at(block.value + size // 2, size // 2):
        return "not available (the C library does not overwrite freed memory)"
    return "on"


def _prctl(option: int, value: int) -> str:
    if _libc.prctl(option, value, 0, 0, 0) == 0:
        return "on"
    return f"not available ({os.strerror(ctypes.get_errno())})"


def forbid_dumps() -> None:
    """No core file, and no other process of this user id may read our memory.

    PR_SET_DUMPABLE 0 makes /proc/PID/mem and ptrace root's alone. Raises HardeningError.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _prctl(_PR_SET_DUMPABLE, 0) != "on":
        raise HardeningError("PR_SET_DUMPABLE")


def die_with_parent() -> None:
    """The kernel kills this process when the one that forked it ends. Raises HardeningError.

    Call it again after a change of user id, which resets it.
    """
    if _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != "on":
        raise HardeningError("PR_SET_PDEATHSIG")


# --------------------------------------------------------------------------- seccomp


class SeccompFilter:
    """A compiled filter, laid out once for the kernel; empty when libseccomp is missing."""

    def __init__(self, instructions: bytes, reason: str = "") -> None:
        self.reason = reason
        self._instructions = ctypes.create_string_buffer(instructions, len(instructions))
        # struct sock_fprog: the number of instructions, of 8 octets each, and where they are
        program = struct.pack(
            "HxxxxxxQ" if struct.calcsize("P") == 8 else "HxxL",
            len(instructions) // 8,
            ctypes.addressof(self._instructions),
        )
        self.program = ctypes.create_string_buffer(program, len(program))


def compile_seccomp() -> SeccompFilter:
    """Compile the allow-list to BPF. Done before forking: building it costs milliseconds."""
    try:
        import pyseccomp as seccomp
    except (ImportError, OSError, RuntimeError):
        return SeccompFilter(b"", "not available (libseccomp is not installed)")
    rules = seccomp.SyscallFilter(seccomp.ERRNO(_EPERM))
    executable = seccomp.Arg(2, seccomp.MASKED_EQ, _PROT_EXEC, 0)
    for name in ALLOWED_CALLS:
        try:
            if name in ("mmap", "mprotect"):
                # no memory becomes executable any more
                rules.add_rule(seccomp.ALLOW, name, executable)
            else:
                rules.add_rule(seccomp.ALLOW, name)
        except (OSError, ValueError):  # a call this architecture does not have
            continue
    rules.add_rule(seccomp.ALLOW, "ioctl", seccomp.Arg(1, seccomp.EQ, _FIONBIO))
    # threads (Argon2 lanes) yes, processes no
    rules.add_rule(
        seccomp.ALLOW, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD)
    )
    # clone3 hides its flags behind a pointer; ENOSYS makes the C library fall back to clone
    rules.add_rule(seccomp.ERRNO(_ENOSYS), "clone3")
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return SeccompFilter(file.read())


def _apply_seccomp(compiled: SeccompFilter) -> str:
    if compiled.reason:
        return compiled.reason
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, compiled.program, 0, 0) == 0:
        return "on"
    return f"not available ({os.strerror(ctypes.get_errno())})"


# --------------------------------------------------------------------------- Landlock


def _apply_landlock() -> str:
    """Deny every path, TCP and signal to the outside: the second wall behind seccomp."""
    abi = _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    if abi < 1:
        return "not available (kernel without Landlock)"
    bits = _LANDLOCK_FS_BITS.get(abi, _LANDLOCK_FS_BITS[max(_LANDLOCK_FS_BITS)])
    fields = [(1 << bits) - 1]
    if abi >= 4:
        fields.append(_LANDLOCK_NET_BITS)
    if abi >= 6:
        fields.append(_LANDLOCK_SCOPES)
    ruleset = ctypes.create_string_buffer(struct.pack(f"{len(fields)}Q", *fields), 8 * len(fields))
    handle = _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, ruleset, len(fields) * 8, 0)
    if handle < 0:
        return f"not available ({os.strerror(ctypes.get_errno())})"
    try:
        if _libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, handle, 0) != 0:
            return f"not available ({os.strerror(ctypes.get_errno())})"
    finally:
        os.close(handle)
    return "on"


# --------------------------------------------------------------------------- all of it


def close_descriptors(keep: Iterable[int]) -> None:
    """Close everything inherited but ``keep``: other users' sockets above all."""
    first = 0
    for kept in sorted(set(keep)):
        os.closerange(first, kept)
        first = kept + 1
    os.closerange(first, _DESCRIPTORS_END)


def _own_user(uid: int | None) -> str:
    """Become a user id of one's own, so that agents cannot touch each other or the supervisor."""
    if os.geteuid() != 0:
        return "not available (not started as root)"
    if uid is None:
        return "off (SEALPOST_AGENT_UIDS is not set)"
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise HardeningError("user id") from error
    return "on"


def _lock_memory() -> str:
    """Keep touched pages out of swap. MCL_ONFAULT does not pull in what we never touch."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    except (ValueError, OSError):
        # With a limit, every later allocation above it would fail.
        return "not available (RLIMIT_MEMLOCK is limited)"
    if _libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0:
        return "on"
    return f"not available ({os.strerror(ctypes.get_errno())})"


def _limit_memory(extra_mb: int) -> str:
    """An agent that grows without end dies alone instead of taking the machine with it."""
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + extra_mb * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return "on"


def harden_parent(*, memory_mb: int) -> dict[str, str]:
    """What the zygote gives up, and with it everything forked from it: these are inherited.

    From here on no path can be opened. Measure → "on", or why it is not. Raises HardeningError
    when no key may be taken.
    """
    measures = {
        "memory limit": _limit_memory(memory_mb),
        "overwriting freed memory": overwrites_freed_memory(),
    }
    # NO_NEW_PRIVS: no set-uid program can raise us; also what lets us install the filters.
    measures["no new privileges"] = _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # MDWE: memory that was writable never becomes executable (kernel 6.3).
    measures["memory deny write execute"] = _prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN)
    measures["landlock"] = _apply_landlock()
    forbid_dumps()
    measures["no dumps"] = "on"
    return measures


def harden_child(*, keep: Iterable[int], seccomp: SeccompFilter, uid: int | None) -> dict[str, str]:
    """What a forked process gives up besides, before any key reaches it.

    Measure → "on", or why it is not. Raises HardeningError when it must not be given a key.
    """
    close_descriptors(keep)
    own_user = _own_user(uid)
    die_with_parent()
    forbid_dumps()  # again: the kernel answers a change of user id by its own default
    swap = _lock_memory()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # writes no file, whatever else fails
    return {"own user id": own_user, "swap": swap, "seccomp": _apply_seccomp(seccomp)}


def limit_cpu(seconds: int) -> None:
    """Let the request that begins now use ``seconds`` of processor time; then the kernel ends us.

    Only the soft limit moves; the hard limit stays open for the next request.
    """
    used = int(time.process_time()) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, hard))
