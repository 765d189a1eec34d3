"""Trying again: the one retry loop in front of every cloud.

The SDKs retry as well, but know nothing of the deadline, wait too little after a 503 and leave out some answers
altogether. So they are told to try once, and what may be tried again is decided here: every error of the class
"unreachable" (connection failures, time-outs, 429, 5xx, throttling, an issuer that the cloud could not reach).
"""

from __future__ import annotations

import random

from pullpass.errors import CLOUD_UNREACHABLE, PullpassError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from pullpass.clock import Clock, Deadline

    T = TypeVar("T")

ATTEMPTS = 4
FIRST_WAIT_S = 1.0


def persistently(
    work: Callable[[], T], deadline: Deadline, clock: Clock, jitter: Callable[[], float] = random.random
) -> T:
    """Do `work`, up to `ATTEMPTS` times while the cloud can't be reached.

    Every wait is up to twice as long as the one before, and between half and all of that: at least half, so that a
    short outage is ridden out; not all, so that a thousand nodes do not come back in the same moment.

    Args:
        work: one attempt.
        deadline: no wait begins that would not end before it.
        clock: does the waiting.
        jitter: a number from 0 up to 1.

    Raises:
        PullpassError: the first one that another attempt can't mend, or the last one.
    """
    attempt = 1
    while True:
        try:
            return work()
        except PullpassError as error:
            if error.upstream != CLOUD_UNREACHABLE:
                raise
            wait_s = FIRST_WAIT_S * 2 ** (attempt - 1) * (1 + jitter()) / 2
            if attempt == ATTEMPTS or wait_s >= deadline.remaining_s():
                raise PullpassError(error.code, f"{error.what} (attempt {attempt})", error.hint) from None
        clock.sleep(wait_s)
        attempt += 1
