"""Ids by a hash: any value has one, no list of values is kept, and values may share one.

Source: Weinberger, Dasgupta, Langford, Smola, Attenberg, "Feature Hashing for Large Scale Multitask Learning", ICML
2009; without their signs, because an Embedding layer learns a vector for each.
"""

from __future__ import annotations

import hashlib


def hashed(value: str, size: int) -> int:
    """The place of a value, 0 to `size` - 1, the same in every process and on every machine."""
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") % size
