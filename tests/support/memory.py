"""Search the memory of processes, as root or as who owns them.

``python -m tests.support.memory PID…`` (all processes when none is named) reads one needle per line
from its input, in hex, *masked* (every octet XOR 0xA5), and prints JSON: process id → numbers of
the needles found in its memory. Masked, so that a needle stands in no memory but where it is looked
for; in a process of its own, for the same reason.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator

MASK = 0xA5
NEEDLE_BYTES = 16
_PAGE = os.sysconf("SC_PAGE_SIZE")
_CHUNK = 64 * 1024 * 1024
_MAP = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r(w|-)\S+ \S+ \S+ (\d+)")


def masked(value: bytes) -> str:
    """A needle as it may stand in the test's own memory.

    Its last octets only: malloc writes its own over the first sixteen of a block that was freed.
    """
    return bytes(octet ^ MASK for octet in value[-NEEDLE_BYTES:]).hex()


def present(pid: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a region that are in memory: gigabytes may be reserved and never used."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for part in range(begin, end, _CHUNK):
            stop = min(part + _CHUNK, end)
            pagemap.seek(part // _PAGE * 8)
            entries = pagemap.read((stop - part) // _PAGE * 8)
            if not any(entries):
                continue
            start = -1
            for number, (entry,) in enumerate(struct.iter_unpack("Q", entries)):
                there = entry >> 62 != 0  # present or swapped
                if there and start < 0:
                    start = part + number * _PAGE
                if not there and start >= 0:
                    yield start, part + number * _PAGE
                    start = -1
            if start >= 0:
                yield start, stop


def memory_of(pid: int) -> Iterator[bytes]:
    """All memory of a process but what its program files hold, region by region.

    Raises OSError when it may not be read.
    """
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            match = _MAP.match(line)
            if match is None or (match[3] == "-" and match[4] != "0"):
                continue  # not readable; or of a file and never written to
            for begin, end in present(pid, int(match[1], 16), int(match[2], 16)):
                try:
                    memory.seek(begin)
                    yield memory.read(end - begin)
                except OSError:
                    continue  # unmapped meanwhile


def scan(pids: Iterable[int], needles: list[bytes]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for pid in pids:
        hits: set[int] = set()
        try:
            for region in memory_of(pid):
                hits |= {n for n, needle in enumerate(needles) if needle in region}
        except OSError:
            continue  # a thread of the kernel, a process that ended, or none of ours
        if hits:
            found[pid] = sorted(hits)
    return found


def search(needles: list[str], pids: Iterable[int] = ()) -> dict[int, list[int]]:
    """Run this module: process id → numbers of the masked needles in its memory."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.memory", *map(str, pids)],
        input="\n".join(needles), capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return {int(pid): hits for pid, hits in json.loads(done.stdout).items()}


def main() -> None:
    needles = [
        bytes(octet ^ MASK for octet in bytes.fromhex(line)) for line in sys.stdin.read().split()
    ]
    chosen = [int(pid) for pid in sys.argv[1:]]
    pids = chosen or [int(name) for name in os.listdir("/proc") if name.isdigit()]
    print(json.dumps(scan([pid for pid in pids if pid != os.getpid()], needles)))


if __name__ == "__main__":
    main()
