"""`pullpass revalidate`: what was approved has to be approved again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pullpass.approvals.orders import REVALIDATE
from pullpass.commands import giving

if TYPE_CHECKING:
    import argparse

    from pullpass.commands import Output

DESCRIPTION = """Order that the selected approvals count no longer: at the next container start after at most
approval.recheck the kubelet asks again, and whom policy and cloud still allow is given a new credential. Shows which
stored approvals are hit, by when it bites, and what it can't close."""
EXAMPLE = """  pullpass revalidate --service-account team-a/web --reason "role was narrowed"
  pullpass revalidate --all --id rotation-2026-11 --reason "monthly rotation" --not-before 2026-11-30T00:00:00Z"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare selector, reason, times and who says so."""
    giving.add_arguments(parser)


def run(arguments: argparse.Namespace) -> Output:
    """Give the order."""
    return giving.run(REVALIDATE, arguments)
