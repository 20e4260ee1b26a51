"""Where is the private half of a node's key? See ``test_memory``.

``python -m tests.agent.find_node_key PUBLIC ZYGOTE PID…`` derives the X25519 public key of every
32 octets in the zygote's heap that look random, until one is the node's (PUBLIC, hex); prints JSON:
the process ids, of all that were named, whose memory holds it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.support.memory import memory_of, scan

ALIGNMENT = 16
"""What malloc gives."""
DISTINCT = 22
"""Of 32 random octets about 30 differ."""


def candidates(pid: int) -> Iterator[bytes]:
    for region in memory_of(pid):
        for position in range(0, len(region) - 31, ALIGNMENT):
            octets = region[position : position + 32]
            if len(set(octets)) >= DISTINCT:
                yield octets


def find(public: bytes, pid: int) -> bytes:
    seen: set[bytes] = set()
    for octets in candidates(pid):
        if octets in seen:
            continue
        seen.add(octets)
        made = X25519PrivateKey.from_private_bytes(octets).public_key().public_bytes_raw()
        if made == public:
            return octets
    raise SystemExit("the node's key was not found")


def main() -> None:
    public, zygote, *others = sys.argv[1:]
    private = find(bytes.fromhex(public), int(zygote))
    found = scan([int(zygote), *map(int, others)], [private])
    print(json.dumps(sorted(found)))


if __name__ == "__main__":
    main()
