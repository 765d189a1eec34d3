"""How hypothesis runs here."""

from __future__ import annotations

from hypothesis import settings

# A limit for the time of one example would make the result depend on what else the machine does.
settings.register_profile("pullpass", deadline=None)
settings.load_profile("pullpass")
