"""The parameters of STS's actions: which there are, and their limits, checked and reported as STS does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloud.answers import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST_SESSION_S = 900
LONGEST_SESSION_S = 43200
_COMMON = {"Action", "Version", "RoleArn", "RoleSessionName", "Policy", "DurationSeconds"}
# action -> what it takes besides
_PARAMETERS = {"AssumeRoleWithWebIdentity": {"WebIdentityToken"}, "AssumeRole": {"ExternalId"}}
_ROLE_ARN = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/[\x21-\x7e]+")
_TEXT = r"[\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd]+"
# parameter -> (shortest, longest, pattern)
_LIMITS = {
    "RoleArn": (20, 2048, _TEXT),
    "RoleSessionName": (2, 64, r"[\w+=,.@-]*"),
    "WebIdentityToken": (4, 20000, None),
    "Policy": (1, 2048, r"[\x09\x0a\x0d\x20-\xff]+"),
    "ExternalId": (2, 1224, r"[\w+=,.@:/-]*"),
}
_OPTIONAL = {"Policy", "ExternalId"}


def validated(action: str, parameters: Mapping[str, str]) -> int:
    """Check the parameters of an action; the duration in seconds.

    Raises:
        Refused: ValidationError, naming every parameter that fails, as STS does.
    """
    known = _COMMON | _PARAMETERS[action]
    failures = [f"{name} is not a parameter that the local cloud knows" for name in sorted(set(parameters) - known)]
    for name, (shortest, longest, pattern) in _LIMITS.items():
        if name in known and (name in parameters or name not in _OPTIONAL):
            failures += _failures(name, parameters.get(name), shortest, longest, pattern)
    duration = parameters.get("DurationSeconds", "3600")
    if not re.fullmatch(r"[0-9]{1,9}", duration):
        raise Refused("MalformedInput", "DurationSeconds is not a number")
    shown = _value("DurationSeconds", duration)
    if int(duration) < SHORTEST_SESSION_S:
        failures.append(f"{shown}: Member must have value greater than or equal to {SHORTEST_SESSION_S}")
    if int(duration) > LONGEST_SESSION_S:
        failures.append(f"{shown}: Member must have value less than or equal to {LONGEST_SESSION_S}")
    if failures:
        plural = "s" if len(failures) > 1 else ""
        raise Refused("ValidationError", f"{len(failures)} validation error{plural} detected: " + "; ".join(failures))
    if not _ROLE_ARN.fullmatch(parameters["RoleArn"]):
        raise Refused("ValidationError", f"{parameters['RoleArn']} is invalid")
    return int(duration)


def _value(name: str, value: str) -> str:
    return f"Value '{value}' at '{name[0].lower()}{name[1:]}' failed to satisfy constraint"


def _failures(name: str, value: str | None, shortest: int, longest: int, pattern: str | None) -> list[str]:
    if value is None:
        return [f"Value null at '{name[0].lower()}{name[1:]}' failed to satisfy constraint: Member must not be null"]
    # What a token is worth does not belong in an error, and STS does not show it either.
    shown = _value(name, "***" if name == "WebIdentityToken" else value)
    failures = []
    if len(value) < shortest:
        failures.append(f"{shown}: Member must have length greater than or equal to {shortest}")
    if len(value) > longest:
        failures.append(f"{shown}: Member must have length less than or equal to {longest}")
    if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
        failures.append(f"{shown}: Member must satisfy regular expression pattern: {pattern}")
    return failures
