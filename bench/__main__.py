"""``make bench``: every figure; ``make bench ARGS=agent`` or ``ARGS=reading``: some of them."""

from __future__ import annotations

import sys

from bench import agent, reading

BENCHES = {"agent": agent.main, "reading": reading.main}


def main() -> None:
    names = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        sys.exit(f"There is no bench {unknown[0]}: choose of {', '.join(BENCHES)}.")
    for name in names:
        print(f"\n{name}: {sys.modules[BENCHES[name].__module__].__doc__}", flush=True)
        BENCHES[name]()


if __name__ == "__main__":
    main()
