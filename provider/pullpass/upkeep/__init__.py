"""Looking after what is stored: approvals and cached credentials, for people.

* `pullpass.upkeep.listing`: approvals one by one, and what the program would do with each.
* `pullpass.upkeep.detail`: everything about one.
* `pullpass.upkeep.pruning`: approvals that are over, and what crashes have left behind.
* `pullpass.upkeep.credentials`: the cache, and its key.

Rules:

* A store is read file by file, by name, and only the names are held: there may be 100,000 approvals.
* Whatever changes a key's files holds its intent lock, as an exchange does. A key that is in use is passed over.
* Nothing here shows a secret: of a credential there is its hash and whether its entry opens.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from pullpass.errors import PullpassError, outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pullpass.config import Paths

    Tell = Callable[[int], None] | None

Thing = TypeVar("Thing")

TOLD_EVERY = 1000  # how often who watches is told how far it is, in files
TRAIL_WAIT_S = 10.0  # a person waits longer than a pull
NO_TOKEN = "(no token)"  # noqa: S105 - what stands in the place of a service account


def counted(things: Iterable[Thing], tell: Tell) -> Iterator[Thing]:
    """The same things, while who watches is told how far it is.

    Args:
        things: files, or what was read from them.
        tell: is told how many there were, now and then; None when nobody watches.
    """
    for count, thing in enumerate(things, 1):
        if tell and count % TOLD_EVERY == 0:
            tell(count)
        yield thing


@contextlib.contextmanager
def faults(paths: Paths) -> Iterator[None]:
    """Turn the system's errors about a file into the program's.

    Args:
        paths: `[paths]`.

    Raises:
        PullpassError: `runtime-unwritable` or `state-unwritable`, which names the file.
    """
    try:
        yield
    except OSError as error:
        where = str(error.filename or paths.state)
        code = "runtime-unwritable" if where.startswith(f"{paths.runtime}/") else "state-unwritable"
        raise PullpassError(code, f"{outside(where)} can't be used: {error.strerror}") from None
