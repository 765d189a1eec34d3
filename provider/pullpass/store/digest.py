"""Hashes: of bytes, and of the fields that name what is stored.

`hashlib` loads OpenSSL, which takes a tenth of the time of a refusal, and a refusal hashes nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def sha256_hex(data: bytes) -> str:
    """Lower-case hex of SHA-256."""
    from hashlib import sha256  # noqa: PLC0415 - see above

    return sha256(data).hexdigest()


def key(fields: Iterable[tuple[str, str]]) -> str:
    """The name of what these fields identify: an approval, a cache entry, an intent.

    Each name and each value is preceded by its length, so that no two lists of fields have the same bytes: plain
    joining would let a namespace `a` with account `b-c` and a namespace `a-b` with account `c` be one key.

    Args:
        fields: names and values in a fixed order.

    Returns:
        64 characters of lower-case hex.
    """
    from hashlib import sha256  # noqa: PLC0415 - see above

    digest = sha256(b"pullpass/v1 key\n")
    for name, value in fields:
        for part in (name, value):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(data))
            digest.update(data)
    return digest.hexdigest()
