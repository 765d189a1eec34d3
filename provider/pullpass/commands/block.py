"""`pullpass block`: nothing more for whom, what and as whom the order selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pullpass.approvals.orders import BLOCK
from pullpass.commands import giving

if TYPE_CHECKING:
    import argparse

    from pullpass.commands import Output

DESCRIPTION = """Order that the selected requests are refused, until the order is lifted or expires. It bites at the
next container start after at most approval.recheck. Shows which stored approvals are hit, by when it bites, and what it
can't close."""
EXAMPLE = """  pullpass block --image '*.dkr.ecr.us-west-2.amazonaws.com/team-a/**' --reason "CVE-2026-1234"
  pullpass block --service-account 'team-b/*' --reason "namespace is compromised" --id incident-17"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare selector, reason, times and who says so."""
    giving.add_arguments(parser)


def run(arguments: argparse.Namespace) -> Output:
    """Give the order."""
    return giving.run(BLOCK, arguments)
