"""Durations and sizes of memory as people write them: 90s, 15m, 4Gi."""

from __future__ import annotations

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    """The seconds of a duration such as 250ms, 30s, 15m or 24h."""
    digits = duration.rstrip("smh")
    return int(digits) * UNITS[duration[len(digits) :]]


def memory_bytes(memory: str) -> int:
    """The bytes of a quantity such as 1Gi or 500M, as Kubernetes writes it; its client is not installed here."""
    units = {
        "Ki": 2**10,
        "Mi": 2**20,
        "Gi": 2**30,
        "Ti": 2**40,
        "k": 10**3,
        "M": 10**6,
        "G": 10**9,
        "T": 10**12,
    }
    unit = memory.lstrip("0123456789.")
    return int(float(memory.removesuffix(unit)) * units.get(unit, 1))
