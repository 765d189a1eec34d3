"""What a person or a program reads of a run. All text passes here, and secrets are taken out once more."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pullpass import __version__
from pullpass.errors import escape
from pullpass.registry.google import is_google_host
from verify.points import CONFIRMED, hide

if TYPE_CHECKING:
    from pullpass.secret import Secret
    from verify.inputs import Case
    from verify.points import Finding

WIDTH = 100


def document(
    case: Case, findings: list[Finding], not_tried: tuple[str, ...], now_s: float, secrets: list[Secret]
) -> dict[str, Any]:
    """The result as the document of `--json`.

    Args:
        case: what was tried.
        findings: what came of it.
        not_tried: the open points that a run does not touch.
        now_s: when it ended.
        secrets: all that must not be shown.
    """
    made = {
        "program": f"pullpass {__version__} verify-cloud",
        "cloud": case.cloud,
        "date": datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d"),
        "where": _where(case),
        "images": {"A": str(case.first), "B": str(case.second)},
        "identity": case.config.grants[0].identity,
        "settled": all(finding.outcome.verdict == CONFIRMED for finding in findings),
        "points": [
            {
                "name": finding.claim.name,
                "claim": finding.claim.text,
                "did": list(finding.did),
                "saw": list(finding.saw),
                "verdict": finding.outcome.verdict,
                "means": finding.outcome.means,
                "brief": finding.outcome.brief,
            }
            for finding in findings
        ],
        "notTried": list(not_tried),
    }
    made["summary"] = _summary(made)
    hidden: dict[str, Any] = _hidden(made, secrets)
    return hidden


def _hidden(value: Any, secrets: list[Secret]) -> Any:
    if isinstance(value, dict):
        return {name: _hidden(inner, secrets) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner, secrets) for inner in value]
    return hide(value, secrets) if isinstance(value, str) else value


def _where(case: Case) -> str:
    target = case.first.target
    if target.region:
        return f"partition {target.partition}, region {target.region}"
    provider = case.config.gcr.provider if case.config.gcr else ""
    pool = "a managed pool" if provider.startswith("identitynamespace:") else "a workload identity pool"
    hosts = [image.target.host for image in (case.first, case.second)]
    return f"{pool}, hosts {' and '.join(host if is_google_host(host) else 'a configured one' for host in hosts)}"


def _summary(made: dict[str, Any]) -> list[str]:
    """What can be pasted into a report: no names of accounts, projects, roles or images."""
    lines = [f"{made['program']} {made['cloud']}, {made['date']}, {made['where']}"]
    width = max(len(point["name"]) for point in made["points"])
    lines += [f"{point['name']:<{width}}  {point['verdict']:<11}  {point['brief']}" for point in made["points"]]
    return lines


def text(made: dict[str, Any]) -> str:
    """The document for people."""
    lines = [f"{made['program']} {made['cloud']}", ""]
    lines += [f"image {name}: {image}" for name, image in made["images"].items()]
    lines += [f"as {made['identity']}", ""]
    for number, point in enumerate(made["points"], 1):
        lines.append(f"{number}. {point['name']}: {point['verdict'].upper()}")
        for label, texts in (
            ("claim", [point["claim"]]),
            ("did", point["did"]),
            ("saw", point["saw"]),
            ("means", [point["means"]]),
        ):
            for each in texts:
                lines += _paragraph(label, each)
        lines.append("")
    lines.append("Not tried:")
    for each in made["notTried"]:
        lines += textwrap.wrap(each, WIDTH, initial_indent="- ", subsequent_indent="  ")
    lines += ["", "Summary, to be pasted into a report; it names no account, project, role or image:", ""]
    lines += [f"    {line}" for line in made["summary"]]
    return "".join(escape(line) + "\n" for line in lines)


def _paragraph(label: str, text: str) -> list[str]:
    indent = " " * 9
    return textwrap.wrap(
        escape(text), WIDTH, initial_indent=f"   {label:<6}", subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
