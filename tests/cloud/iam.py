"""IAM policies: their grammar as far as it is used here, and how they decide.

Follows the IAM User Guide, "Policy evaluation logic" and "JSON policy elements": an explicit Deny anywhere wins; a
session may do what the role's policies *and* the session policy allow. What is not implemented is refused when the
policy is set, never ignored: an ignored condition would open what it was meant to close.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Tuples, not sets: what is looked up may be anything that JSON can hold.
VERSIONS = ("2012-10-17", "2008-10-17")
EFFECTS = ("Allow", "Deny")
_STATEMENT_KEYS = {
    "Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip
_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_RESOURCE = re.compile(r"\*|arn:[^:]*:[^:]*:[^:]*:[^:]*:.+")
_OPERATORS = {"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringLike", "StringNotLike"}

Context = Mapping[str, list[str]]


class PolicyError(Exception):
    """A policy document that IAM would not accept."""


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern), re.DOTALL)


def like(pattern: str, text: str) -> bool:
    """IAM's wildcards: `*` any characters, `?` one, both across `/` and `:`."""
    return _compiled(pattern).fullmatch(text) is not None


def _listed(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in values):
        raise PolicyError("Syntax errors in policy.")
    return values


@dataclass(frozen=True)
class Statement:
    """One statement, checked."""

    effect: str
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...]
    not_resources: bool
    principals: Mapping[str, list[str]]
    conditions: Mapping[str, Mapping[str, list[str]]]

    def speaks_of(self, action: str, resource: str, context: Context) -> bool:
        """Whether the statement's action, resource and conditions all match."""
        acts = any(like(pattern.lower(), action.lower()) for pattern in self.actions) != self.not_actions
        covers = any(like(pattern, resource) for pattern in self.resources) != self.not_resources
        return (
            acts
            and covers
            and all(
                _condition(operator, key, wanted, context)
                for operator, keys in self.conditions.items()
                for key, wanted in keys.items()
            )
        )


def _condition(operator: str, key: str, wanted: list[str], context: Context) -> bool:
    """One condition: any of the wanted values, by `operator`, against the context's values of `key`."""
    qualifier, _, plain = operator.rpartition(":")
    if_exists = plain.endswith("IfExists")
    plain = plain.removesuffix("IfExists")
    values = next((values for name, values in context.items() if name.lower() == key.lower()), None)
    negative = "Not" in plain
    if not values:
        return if_exists or negative or qualifier == "ForAllValues"

    def matches(value: str) -> bool:
        if plain == "StringEqualsIgnoreCase":
            return value.lower() in {item.lower() for item in wanted}
        return any(like(item, value) for item in wanted) if plain.endswith("Like") else value in wanted

    results = [matches(value) != negative for value in values]
    return all(results) if qualifier == "ForAllValues" or (negative and not qualifier) else any(results)


@dataclass(frozen=True)
class Policy:
    """A policy document, checked."""

    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, document: str | Mapping[str, Any], *, kind: str) -> Policy:
        """Check a policy.

        Args:
            document: JSON text, or the same decoded.
            kind: `identity` (role and session policies: resources, no principals), `resource` (repository policies:
                principals) or `trust` (principals, no resources).

        Raises:
            PolicyError: IAM would answer MalformedPolicyDocument, or a condition here is not implemented.
        """
        if isinstance(document, str):
            try:
                document = json.loads(document)
            except (ValueError, RecursionError):
                raise PolicyError("This policy contains invalid Json") from None
        if not isinstance(document, Mapping) or set(document) - {"Version", "Id", "Statement"}:
            raise PolicyError("Syntax errors in policy.")
        if document.get("Version", "2008-10-17") not in VERSIONS:
            raise PolicyError("The policy must contain a valid version string.")
        statements = document.get("Statement")
        statements = [statements] if isinstance(statements, Mapping) else statements
        if not isinstance(statements, list) or not statements:
            raise PolicyError("Syntax errors in policy.")
        return cls(tuple(_statement(statement, kind) for statement in statements))

    def says(self, action: str, resource: str, context: Context | None = None) -> str | None:
        """`Deny`, `Allow`, or None when no statement speaks of it."""
        effects = {
            statement.effect for statement in self.statements if statement.speaks_of(action, resource, context or {})
        }
        return "Deny" if "Deny" in effects else "Allow" if effects else None


def _statement(raw: Any, kind: str) -> Statement:
    if not isinstance(raw, Mapping) or set(raw) - _STATEMENT_KEYS or raw.get("Effect") not in EFFECTS:
        raise PolicyError("Syntax errors in policy.")
    if ("Action" in raw) == ("NotAction" in raw):
        raise PolicyError("Policy statement must contain actions.")
    actions = _listed(raw.get("Action", raw.get("NotAction")))
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise PolicyError(f"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: {action}")
    resources = ["*"]
    if kind == "identity":
        if ("Resource" in raw) == ("NotResource" in raw):
            raise PolicyError("Policy statement must contain resources.")
        resources = _listed(raw.get("Resource", raw.get("NotResource")))
        for resource in resources:
            if not _RESOURCE.fullmatch(resource):
                raise PolicyError(f'Resource {resource} must be in ARN format or "*".')
    if (kind == "identity") == ("Principal" in raw):
        raise PolicyError(
            "Policy document should not specify a principal." if kind == "identity" else "Missing principal"
        )
    return Statement(
        raw["Effect"], tuple(actions), "NotAction" in raw, tuple(resources), "NotResource" in raw,
        _principals(raw.get("Principal", {})), _conditions(raw.get("Condition", {})),
    )  # fmt: skip


def _principals(raw: Any) -> dict[str, list[str]]:
    if raw == "*":
        return {"AWS": ["*"]}
    if not isinstance(raw, Mapping):
        raise PolicyError("Syntax errors in policy.")
    return {name: _listed(value) for name, value in raw.items()}


def _conditions(raw: Any) -> dict[str, dict[str, list[str]]]:
    if not isinstance(raw, Mapping):
        raise PolicyError("Syntax errors in policy.")
    conditions: dict[str, dict[str, list[str]]] = {}
    for operator, keys in raw.items():
        qualifier, _, plain = operator.rpartition(":")
        if plain.removesuffix("IfExists") not in _OPERATORS or qualifier not in {"", "ForAnyValue", "ForAllValues"}:
            raise PolicyError(f"the condition operator {operator!r} is not implemented by the local cloud")
        if not isinstance(keys, Mapping):
            raise PolicyError("Syntax errors in policy.")
        conditions[operator] = {key: _listed(value) for key, value in keys.items()}
    return conditions


@dataclass(frozen=True)
class Principal:
    """A role's session, as policies see it."""

    account: str
    role_arn: str
    session_arn: str
    policy: Policy
    session_policy: Policy | None

    def refused(
        self,
        action: str,
        resource: str,
        resource_policy: Policy | None,
        owner: str,
        *,
        context: Context | None = None,
        trust: bool = False,
    ) -> str | None:
        """Why the principal may not do `action`, in IAM's words; None when it may.

        Args:
            action: such as `ecr:BatchGetImage`.
            resource: the resource's ARN, or `*`.
            resource_policy: the resource's own policy, if it has one.
            owner: the account that owns the resource.
            context: the condition keys of the request.
            trust: the resource's policy is a role's trust policy, which must allow in any case.
        """
        says = {
            "an identity-based policy": self.policy.says(action, resource, context),
            "a session policy": "Allow",
        }
        if self.session_policy:
            says["a session policy"] = self.session_policy.says(action, resource, context)
        root = f"arn:{self.role_arn.split(':')[1]}:iam::{self.account}:root"
        as_session = _granted(resource_policy, action, {self.session_arn}, context)
        as_role = _granted(resource_policy, action, {self.role_arn, "*"}, context)
        as_account = _granted(resource_policy, action, {self.account, root}, context)
        if "Deny" in {as_session, as_role, as_account}:
            return "with an explicit deny in a resource-based policy"
        for where, effect in says.items():
            if effect == "Deny":
                return f"with an explicit deny in {where}"
        identity, session = (effect == "Allow" for effect in says.values())
        if (trust or owner != self.account) and "Allow" not in {as_session, as_role, as_account}:
            return f"because no resource-based policy allows the {action} action"
        if owner == self.account:
            if as_session == "Allow":
                # A grant to the session itself is not limited by the session policy; one to its role is.
                return None
            identity = identity or as_role == "Allow"
        if not identity:
            return f"because no identity-based policy allows the {action} action"
        return None if session else f"because no session policy allows the {action} action"


def _granted(policy: Policy | None, action: str, principals: set[str], context: Context | None) -> str | None:
    """What a resource's policy says of `action` to any of `principals`."""
    if policy is None:
        return None
    named = [statement for statement in policy.statements if principals & set(statement.principals.get("AWS", []))]
    return Policy(tuple(named)).says(action, "*", context)
