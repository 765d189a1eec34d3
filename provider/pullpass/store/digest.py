"""Hashes: of bytes, of credentials as the kubelet does it, and of what names things that are stored."""

from __future__ import annotations

from pullpass.lean import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_HEX = frozenset("0123456789abcdef")


def sha256_hex(data: bytes) -> str:
    """Lower-case hex of SHA-256."""
    return str(sha256(data).hexdigest())


def is_sha256(text: str) -> bool:
    """Whether this is what `sha256_hex` gives."""
    return len(text) == 64 and _HEX.issuperset(text)


def key(fields: Iterable[tuple[str, str]]) -> str:
    """The name of what these fields identify: an approval, a cache entry, an intent.

    Each name and each value is preceded by its length, so that no two lists of fields have the same bytes: plain
    joining would let a namespace `a` with account `b-c` and a namespace `a-b` with account `c` be one key.

    Args:
        fields: names and values in a fixed order.

    Returns:
        64 characters of lower-case hex.
    """
    digest = sha256(b"pullpass/v1 key\n")
    for name, value in fields:
        for part in (name, value):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(data))
            digest.update(data)
    return str(digest.hexdigest())


def file_name(text: str) -> str:
    """The kubelet's name for the file about `text`: an image (intents) or an image reference (records).

    Args:
        text: bytes that are no UTF-8 as surrogates, as in `credential_hash`.

    Raises:
        UnicodeEncodeError: a surrogate in it stands for no byte; the kubelet has no such text.

    Source: `pullmanager/fs_pullrecords.go`, `cacheFilename`.
    """
    return f"sha256-{sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()}"


def credential_hash(username: str, password: str, email: str = "") -> str:
    """The kubelet's hash of a credential: SHA-256 of Go's `json.Marshal` of its `AuthConfig`.

    Registry, secret name and pattern are not part of it. There is no salt: a password that can be guessed can be
    guessed from the hash; ours are cloud-made and long.

    Args:
        username: left out of what is hashed when empty, as are the others.
        password: bytes that are no UTF-8 (base64 in a docker config can hold them) as surrogates, as Python reads file
            names (`surrogateescape`).
        email: only pull secrets have one.

    Returns:
        64 characters of lower-case hex.

    Raises:
        UnicodeEncodeError: a surrogate in it stands for no byte; Go, which reads the docker config, has no such text.

    Source: `pkg/credentialprovider/keyring.go`, `hashAuthConfig`; tests/conformance/test_hashes.py compares.
    """
    fields = (("username", username), ("password", password), ("email", email))
    text = ",".join(f'"{name}":"{_go_escaped(value)}"' for name, value in fields if value)
    return str(sha256(f"{{{text}}}".encode()).hexdigest())


# What Go's encoder escapes. 0x7f, "/" and everything above ASCII but the two separators stay as they are.
_GO_ESCAPES = {
    **{code: f"\\u{code:04x}" for code in range(0x20)},
    **{ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"},
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    ord("\b"): "\\b",
    ord("\f"): "\\f",
    **dict.fromkeys(range(0xDC80, 0xDD00), "\\ufffd"),  # each byte that is no UTF-8
}


def _go_escaped(text: str) -> str:
    return text.translate(_GO_ESCAPES)
