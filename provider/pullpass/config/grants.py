"""`[[grant]]`: who, which images, which identity.

Rules:

* A grant names service accounts or says `node = true`, never both: requests with and without a token have nothing in
  common that one identity could be chosen by.
* An identity that an annotation chooses comes with the list of what it may choose.
* `via` and `pull_through` are things of an IAM role; a hop stays in its partition. The node's identity may be the
  first step of a hop, which makes of it something that a session policy can limit to a repository.
"""

from __future__ import annotations

from pullpass import patterns
from pullpass.config.checks import (
    BOOLEAN,
    Check,
    Finding,
    Key,
    Wrong,
    each,
    explained,
    one_or_each,
    pattern,
    shown,
    table,
)
from pullpass.config.forms import NAME
from pullpass.config.values import Grant
from pullpass.lean import NamedTuple
from pullpass.patterns import CLOUDLESS, NODE, is_role

SERVICE_ACCOUNTS = each(explained("NAMESPACE/NAME with * for any characters", patterns.check_service_account_glob))
IMAGES = each(
    explained("HOST/PATH with * within a path segment and ** for any depth, without tag", patterns.check_image_glob)
)
ROLE = explained("an IAM role such as arn:aws:iam::111122223333:role/pull-{namespace}", patterns.check_role)
ALLOW = each(explained("a role ARN, a service account e-mail (with {namespace}, *) or principal", patterns.check_allow))
# A qualified name of Kubernetes: DNS subdomain, slash, name of up to 63 characters.
ANNOTATION = pattern(
    "the key of an annotation such as eks.amazonaws.com/ecr-role-arn",
    r"((?=[^/]{1,253}/)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?"
    r"(?=.{1,63}\Z)[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?",
)


class Identity(NamedTuple):
    """The value of `identity`, as in the fields of a `Grant`."""

    fixed: str
    annotations: tuple[str, ...]
    allow: tuple[str, ...]


_FIXED = explained(
    f"a role ARN, a service account e-mail, {', '.join(patterns.WORDS)}, or {{ annotation = ..., allow = [...] }}",
    patterns.check_identity,
)
_CHOSEN = table(
    "a table with annotation and allow",
    lambda annotations, allow: Identity("", annotations, allow),
    {"annotation": Key("annotations", one_or_each(ANNOTATION)), "allow": Key("allow", ALLOW)},
)


def _read_identity(value: object) -> Identity:
    if isinstance(value, dict):
        chosen: Identity = _CHOSEN.read(value)
        return chosen
    return Identity(_FIXED.read(value), (), ())


def _make(identity: Identity, **fields: object) -> Grant:
    chosen = {"identity": identity.fixed, "annotations": identity.annotations, "allow": identity.allow}
    return Grant(**fields, **chosen)  # type: ignore[arg-type]


def _who(grant: Grant) -> None:
    if grant.node and grant.service_accounts:
        raise Wrong(Finding(".service_accounts", "stands beside node = true", "one of the two"))
    if not grant.node and not grant.service_accounts:
        raise Wrong(Finding(".service_accounts", "is missing", f"{SERVICE_ACCOUNTS.expected}; or node = true"))
    if grant.node and grant.identity not in CLOUDLESS:
        found = "is chosen by an annotation" if grant.annotations else f"is {shown(grant.identity)}"
        words = f"{', '.join(CLOUDLESS[:-1])} or {CLOUDLESS[-1]}"
        raise Wrong(Finding(".identity", f"{found} for requests without a token", words))


def identities(grant: Grant) -> list[tuple[str, str]]:
    """Every template of an identity that a grant may give, with its position in the grant."""
    if not grant.annotations:
        return [(".identity", grant.identity)]
    return [(f".identity.allow[{number}]", template) for number, template in enumerate(grant.allow, 1)]


def _role_only(grant: Grant) -> None:
    """`via` and `pull_through` stand beside roles only, or where the node becomes one."""
    for at, template in identities(grant):
        if is_role(template):
            if grant.via and grant.via.split(":")[1] != template.split(":")[1]:
                raise Wrong(Finding(".via", f"is {shown(grant.via)}", f"a role of the partition of {shown(template)}"))
        elif not (grant.via and template == NODE):
            for key, given in (("via", grant.via), ("pull_through", grant.pull_through)):
                if given:
                    raise Wrong(Finding(at, f"is {shown(template)} beside {key}", ROLE.expected))
    if grant.node and ("{namespace}" in grant.via or "{service_account}" in grant.via):
        expected = "a role without {namespace} and {service_account}, which a request without a token has not"
        raise Wrong(Finding(".via", f"is {shown(grant.via)}", expected))


GRANT = table(
    "a table [[grant]]",
    _make,
    {
        "name": Key("name", NAME, ""),
        "service_accounts": Key("service_accounts", SERVICE_ACCOUNTS, ()),
        "images": Key("images", IMAGES),
        "node": Key("node", BOOLEAN, default=False),
        "identity": Key("identity", Check(_FIXED.expected, _read_identity, _CHOSEN.keys)),
        "via": Key("via", ROLE, ""),
        "pull_through": Key("pull_through", BOOLEAN, default=False),
    },
    _who,
    _role_only,
)
