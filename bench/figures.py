"""How figures are printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

WIDTH = 52


def p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def say(name: str, values: Sequence[float], unit: str, *, limit: float | None = None) -> None:
    """One line: median, 95th percentile, and whether the median keeps its limit."""
    median = statistics.median(values)
    line = f"{name:<{WIDTH}} p50 {median:7.2f} {unit}  p95 {p95(values):7.2f} {unit}"
    if limit is not None:
        line += f"  (limit {limit:g} {unit}) {'ok' if median <= limit else 'OVER'}"
    print(line, flush=True)


def say_beyond(
    name: str, values: Sequence[float], reference: Sequence[float], unit: str, *, limit: float
) -> None:
    """One line: the median of what each value is above the reference measured just before it."""
    beyond = [value - base for value, base in zip(values, reference, strict=True)]
    ratio = statistics.median(values) / statistics.median(reference)
    say(name, beyond, unit, limit=limit)
    print(f"{'  ratio':<{WIDTH}}     {ratio:7.2f}", flush=True)
