"""What tests have done in processes of their own; a module that such a process can import by itself."""

from __future__ import annotations

import os
from typing import Any

from pullpass.approvals import intents
from pullpass.cache import disk
from pullpass.exchange import Credential
from pullpass.secret import Secret
from support import NOW_S, FakeClock

KEY = "ab" * 32
CREDENTIAL = Credential("AWS", Secret("one"), NOW_S + 43200, NOW_S + 3600, "arn:aws:sts", "ASIA", ("r-1",))


def crash(runtime: str) -> None:
    """Die while holding the intent of `KEY`."""
    intents.enter(runtime, KEY, FakeClock(), 0.0)
    os._exit(9)


def keep_together(runtime: str, number: int, start: Any) -> None:
    """Keep an entry of one's own as soon as all are ready."""
    start.wait()
    disk.put(runtime, f"{number}" * 64, NOW_S, CREDENTIAL)
