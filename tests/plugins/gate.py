"""The modules that decide are tested in every branch: `--every-branch`, under `coverage run`, holds that.

Coverage is looked at before pytest's closing line, so that a run ends with one verdict.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from coverage import Coverage

if TYPE_CHECKING:
    from typing import Final

# Who may have what is decided here, and what of it is kept, by what `store` and `lean` read. The doors, the commands
# and the exchange run in processes of their own as well, isolated from what coverage would need to follow them; their
# tests look at what they do instead.
DECIDING: Final = (
    *("request", "identity", "registry", "config", "policy", "store", "lean"),
    *("approvals/__init__", "approvals/codec", "approvals/history", "approvals/intents", "cache"),
    *("approvals/orders", "approvals/order_form", "approvals/order_sync"),
    *("trail/__init__", "trail/ends", "trail/head", "trail/lines", "trail/repair", "trail/rotation"),
    *("stored", "handing", "renewal", "run", "auditing", "pipeline"),
)

REPORT: pytest.StashKey[str] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option."""
    parser.addoption("--every-branch", action="store_true", help=f"fail unless these ran in every branch: {DECIDING}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compares what ran with what there is."""
    if not session.config.getoption("--every-branch"):
        return
    coverage = Coverage.current()
    if coverage is None:
        raise pytest.UsageError("--every-branch works under `coverage run -m pytest`")
    coverage.stop()
    coverage.save()
    report = io.StringIO()
    places = [f"*/pullpass/{name}{tail}" for name in DECIDING for tail in (".py", "/*")]
    share = coverage.report(include=places, show_missing=True, skip_covered=True, file=report)
    session.config.stash[REPORT] = report.getvalue()
    if share < 100 and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Shows the comparison."""
    if (report := config.stash.get(REPORT, None)) is not None:
        terminalreporter.section("branches of the modules that decide: 100 % wanted")
        terminalreporter.write(report)
