"""AES-GCM of `cryptography`, by the shortest way to it.

The public module loads half the library, which takes longer than a whole cache hit. What it hands out is a name of the
library's own extension module; that is taken here directly, and by the public name where it is not found. A test
compares the two.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.cache.disk import Cipher

try:
    from cryptography.hazmat.bindings._rust import openssl

    AESGCM = openssl.aead.AESGCM
except (ImportError, AttributeError):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def make(key: bytes) -> Cipher:
    """The cipher under a key of 32 bytes."""
    cipher: Cipher = AESGCM(key)
    return cipher


def unopened() -> tuple[type[Exception], ...]:
    """What decrypting raises for other data, another key, other associated data, or less than a nonce and a tag.

    A function, so that the library's exceptions are loaded once there is one.
    """
    from cryptography.exceptions import InvalidTag

    return (InvalidTag, ValueError)
