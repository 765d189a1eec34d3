"""`pullpass.lean` as it is here, and as it would be in interpreters that lack what it reaches for."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pullpass import lean

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALL = ("_json", "_sha2", "_sha256", "_collections")
"""The modules in C that it reaches for; which of the two hashes there is depends on Python's version."""


def load(without: Sequence[str]) -> Any:
    """A copy of the module, made while these modules can't be imported."""
    spec = importlib.util.spec_from_file_location("pullpass.lean", lean.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in without:
            patch.setitem(sys.modules, name, None)
        spec.loader.exec_module(copy)
    return copy


VARIANTS: dict[str, Any] = {
    "as it is": lean,
    "no _json": load(["_json"]),
    "no _sha2": load(["_sha2"]),
    "no small hash": load(["_sha2", "_sha256"]),
    "no _collections": load(["_collections"]),
    "none of them": load(SMALL),
}

each_variant = pytest.mark.parametrize("lean", VARIANTS.values(), ids=VARIANTS)
both_ends = pytest.mark.parametrize("lean", [lean, VARIANTS["none of them"]], ids=["as it is", "none of them"])
