"""The credential cache, `runtime/cache/<key>`: one encrypted file for each credential.

Rules:

* AES-256-GCM under `runtime/cache.key`. The key of the plan, which is a hash over each of its fields, and the moment
  of the exchange are associated data: a file that is another key's, or an older one of this key, does not open.
* It protects copies: a backup, a snapshot of one file, a listing over somebody's shoulder. Who is root on the node
  reads the key as well.
* What does not open is a miss, never an error: an exchange is the way out of every damage. A file of another version
  of this format is left as it is.
* While the key is being changed (`cache.rotation`) the one before stands beside it, and entries under either open.
* It is on a tmpfs and never synced.
"""

from __future__ import annotations

import os

from pullpass.exchange import Credential
from pullpass.lean import to_json
from pullpass.secret import Secret
from pullpass.store import files, moments, strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Cipher(Protocol):
        """AES-GCM under one key."""

        def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
            """Encrypt."""

        def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
            """Decrypt."""


NAME = "cache"
KEY_NAME = "cache.key"
PREVIOUS_NAME = "cache.key.previous"
KEY_BYTES = 32
NONCE_BYTES = 12
MAGIC = b"pullpass-cache "
HEADER = MAGIC + b"1\n"
VERSION_LIMIT_BYTES = 16
LIMIT_BYTES = 64 * 1024  # Google's access tokens have up to 12 KiB


class DamagedError(Exception):
    """There is an entry, and it does not open.

    Attributes:
        what: the end of a sentence that begins with the file's name.
        foreign: it is of another version of the format, and is to be left alone.
    """

    def __init__(self, what: str, *, foreign: bool = False) -> None:
        """Make the error."""
        super().__init__(what)
        self.what = what
        self.foreign = foreign


def directory(runtime: str, *, make: bool = True) -> str:
    """The directory of entries; made when it is absent.

    Args:
        runtime: `paths.runtime`.
        make: False for who only looks.

    Raises:
        PullpassError: `state-path` when somebody else could change it.
        OSError: it can't be made.
    """
    path = os.path.join(runtime, NAME)
    files.private_directory(path, make=make)
    return path


def get(runtime: str, key: str, validated_s: float) -> Credential | None:
    """The credential of an approval.

    Args:
        runtime: `paths.runtime`, whose `cache` went through `directory`.
        key: of the plan.
        validated_s: the approval's `last_validated_s`.

    Returns:
        None when there is no entry.

    Raises:
        DamagedError: there is one, which does not open.
    """
    raw = read(runtime, key)
    if raw is None:
        return None
    failure: DamagedError | None = None
    for name in (KEY_NAME, PREVIOUS_NAME):
        secret_key = read_key(runtime, name)
        if secret_key is None:
            continue
        try:
            return _opened(raw, secret_key, key, validated_s)
        except DamagedError as error:
            failure = failure or error
    raise failure or DamagedError("was made under a key that is gone")


def path(runtime: str, key: str) -> str:
    """The file of an entry."""
    return f"{runtime}/{NAME}/{key}"


def put(runtime: str, key: str, validated_s: float, credential: Credential) -> None:
    """Keep a credential, in the place of the one before.

    Args:
        runtime: `paths.runtime`, whose `cache` went through `directory`.
        key: of the plan.
        validated_s: the approval's `last_validated_s`.
        credential: what to keep.

    Raises:
        DamagedError: an entry of another version of the format is there.
        OSError: it can't be written.
    """
    try:
        read(runtime, key)
    except DamagedError as error:
        if error.foreign:
            raise
    used = b""
    # Again when the key was changed meanwhile: whoever changes it looks through the entries afterwards, and may have
    # passed this one before it was there.
    while (secret_key := _make_key(runtime)) != used:
        files.write_atomic(path(runtime, key), _closed(credential, secret_key, key, validated_s))
        used = secret_key


def drop(runtime: str, key: str) -> None:
    """Remove an entry, if there is one.

    Raises:
        OSError: it is still there.
    """
    try:
        os.unlink(path(runtime, key))
    except (FileNotFoundError, NotADirectoryError):
        pass


def names(runtime: str) -> Iterator[str]:
    """The names of all entries, one after the other, in no order; of what else lies there as well.

    Args:
        runtime: `paths.runtime`. Without a directory there are none.

    Raises:
        PullpassError: `state-path` when somebody else could change the directory.
        OSError: it can't be listed.
    """
    place = directory(runtime, make=False)
    if not os.path.lexists(place):
        return
    with os.scandir(place) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield entry.name


def read(runtime: str, key: str) -> bytes | None:
    """The bytes of an entry behind its header; None when there is none.

    Raises:
        DamagedError: it is none of this version.
    """
    try:
        raw, status = files.read_regular(path(runtime, key), LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedError(f"can't be read: {error.strerror}") from None
    if not files.owned(status):
        raise DamagedError("belongs to somebody else, or others may write it")
    if not raw.startswith(HEADER):
        # Its version must be there in full: ours, cut within the header, is nobody's.
        foreign = raw.startswith(MAGIC) and b"\n" in raw[: len(MAGIC) + VERSION_LIMIT_BYTES]
        raise DamagedError("is no cache entry of this version", foreign=foreign)
    return raw[len(HEADER) :]


def _opened(raw: bytes, secret_key: bytes, key: str, validated_s: float) -> Credential:
    from pullpass.cache import cipher  # noqa: PLC0415 - loads a library

    try:
        data = cipher.make(secret_key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound(key, validated_s))
    except cipher.unopened():
        raise DamagedError("does not open: changed, cut short, an older one, or another key's") from None
    try:
        return _credential(strict.parse(data))
    except (strict.DocumentError, KeyError, TypeError, ValueError):
        raise DamagedError("holds no credential") from None


def _closed(credential: Credential, secret_key: bytes, key: str, validated_s: float) -> bytes:
    from pullpass.cache import cipher  # noqa: PLC0415 - loads a library

    document = {
        "username": credential.username,
        "secret": credential.secret.reveal(),
        "registryExpires": moments.text(credential.registry_expires_s),
        "sessionExpires": moments.text(credential.session_expires_s),
        "principal": credential.principal,
        "accessKeyId": credential.access_key_id,
        "requestIds": list(credential.request_ids),
    }
    nonce = os.urandom(NONCE_BYTES)
    data = to_json(document).encode("ascii")
    return HEADER + nonce + cipher.make(secret_key).encrypt(nonce, data, _bound(key, validated_s))


def _bound(key: str, validated_s: float) -> bytes:
    return HEADER + f"{key}\n{moments.text(validated_s)}".encode("ascii")


def _credential(document: object) -> Credential:
    if not isinstance(document, dict) or not isinstance(document["requestIds"], list):
        raise TypeError
    return Credential(
        username=_text(document["username"]),
        secret=Secret(_text(document["secret"])),
        registry_expires_s=moments.parse(_text(document["registryExpires"])),
        session_expires_s=moments.parse(_text(document["sessionExpires"])),
        principal=_text(document["principal"]),
        access_key_id=_text(document["accessKeyId"]),
        request_ids=tuple(_text(item) for item in document["requestIds"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def read_key(runtime: str, name: str = KEY_NAME) -> bytes | None:
    """A key of the cache; None when there is none that can be trusted.

    Args:
        runtime: `paths.runtime`.
        name: `KEY_NAME` or `PREVIOUS_NAME`.
    """
    try:
        raw, status = files.read_regular(f"{runtime}/{name}", KEY_BYTES)
    except OSError:
        return None
    return raw if files.owned(status) and len(raw) == KEY_BYTES else None


def _make_key(runtime: str) -> bytes:
    """The key that is there, or a new one; of several processes that make one at once, the first one's counts."""
    found = read_key(runtime)
    if found is not None:
        return found
    path, new = f"{runtime}/{KEY_NAME}", os.urandom(KEY_BYTES)
    own = f"{runtime}/.{KEY_NAME}.{os.getpid()}.{os.urandom(8).hex()}.tmp"
    files.write_atomic(own, new)
    try:
        os.link(own, path)
    except FileExistsError:
        found = read_key(runtime)
        if found is not None:  # another process was faster, and may have written under it
            return found
        files.write_atomic(path, new)  # what is there opens nothing any more: damaged, or somebody else's
    finally:
        os.unlink(own)
    return new
