"""Keyed randomness: a seed is a hash of what it is for.

Order, shards, ``--limit`` and resuming cannot change it.
"""

import hashlib


def derive_seed(*parts: str | int) -> int:
    """A 63-bit seed from its key, e.g. ``derive_seed(run_seed, trial, sample_id, "inpaint", 2)``.

    >>> derive_seed(0, 0, "a") == derive_seed(0, 0, "a")
    True
    >>> derive_seed(0, 0, "a") == derive_seed(0, "0a")
    False
    """
    key = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return (
        int.from_bytes(hashlib.sha256(key.encode(errors="surrogatepass")).digest()[:8], "big") >> 1
    )
