"""Which identity a service account gets for an image: deny by default, the first grant that matches decides.

Rules:

* A grant with `service_accounts` matches requests with a token only, one with `node = true` requests without one only.
* The first grant whose accounts and images match decides, also when what it decides is a refusal: a later, wider grant
  never repairs what an earlier one refused, so that the order in the file can be read from top to bottom.
* An annotation is written by whoever owns the namespace. Of the keys that a grant lists, the first one present chooses,
  and only among the identities that the grant's `allow` names; `node`, `anonymous` and `refuse` are the operator's
  words and can't be chosen.
* Where `policy.unmatched` is `node`, a request that no grant matches gets what the cloud's stock plugin would give it:
  the node's own identity. A grant that refuses still refuses.
"""

from __future__ import annotations

from pullpass import patterns, registry
from pullpass.errors import PullpassError, outside
from pullpass.lean import NamedTuple
from pullpass.patterns import ANONYMOUS, NODE, PRINCIPAL, REFUSE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.config import Config, Grant
    from pullpass.identity import Subject
    from pullpass.registry import Target

__all__ = ["ANONYMOUS", "NODE", "PRINCIPAL", "REFUSE", "Decision", "decide"]


class Decision(NamedTuple):
    """What policy says yes to.

    Attributes:
        grant: the name of the grant that decided.
        identity: a role ARN, a Google service account's e-mail, `PRINCIPAL`, `NODE` or `ANONYMOUS`.
        via: the ARN of a second hop, or "".
        pull_through: whether the registry's pull-through-cache actions are asked for as well.
        would_refuse: no grant matched, and only the migration mode (`policy.unmatched = "node"`) said yes.
    """

    grant: str
    identity: str
    via: str
    pull_through: bool
    would_refuse: bool = False


def decide(subject: Subject | None, annotations: dict[str, str], target: Target, config: Config) -> Decision:
    """Find the grant for this request and the identity it gives.

    Args:
        subject: who asks; None for a request without a token.
        annotations: those of the service account.
        target: what is asked for.
        config: whose grants decide.

    Raises:
        PullpassError: every way to say no (codes of the section "policy" in `errors`).
    """
    for grant in config.grants:
        if _matches(grant, subject, target):
            return _apply(grant, subject, annotations, target, config)
    if config.unmatched == NODE:
        return Decision("", NODE, "", pull_through=False, would_refuse=True)
    hint = None
    if subject is None:
        hint = "a request without a token (a static pod) is answered only by a grant with node = true for this image"
    raise PullpassError("no-grant", f"no grant matches {_who(subject)} and {_image(target)}", hint)


def _who(subject: Subject | None) -> str:
    if subject is None:
        return "a request without a token"
    return f"service account {subject.namespace}/{subject.service_account}"


def _image(target: Target) -> str:
    return f"image {outside(target.image)}"


def _matches(grant: Grant, subject: Subject | None, target: Target) -> bool:
    if grant.node != (subject is None):
        return False
    if subject is not None:
        account = f"{subject.namespace}/{subject.service_account}"
        if not any(patterns.glob_matches(glob, account) for glob in grant.service_accounts):
            return False
    return any(patterns.glob_matches(glob, target.image) for glob in grant.images)


def _apply(
    grant: Grant, subject: Subject | None, annotations: dict[str, str], target: Target, config: Config
) -> Decision:
    values = {"cluster": config.node.cluster}
    if subject is not None:
        values |= {"namespace": subject.namespace, "service_account": subject.service_account}
    identity = _chosen(grant, annotations, values) if grant.annotations else patterns.render(grant.identity, values)
    if identity == REFUSE:
        raise PullpassError(
            "refused-by-grant", f"grant '{outside(grant.name)}' refuses {_who(subject)} {_image(target)}"
        )
    if identity not in (ANONYMOUS, NODE):
        _check_fits(identity, target, grant)
    via = patterns.render(grant.via, values)
    return Decision(grant.name, identity, via, grant.pull_through)


def _chosen(grant: Grant, annotations: dict[str, str], values: dict[str, str]) -> str:
    """The identity that the first of the grant's annotations names, if the grant allows it."""
    key = next((key for key in grant.annotations if key in annotations), None)
    if key is None:
        raise PullpassError(
            "annotation-missing",
            f"grant '{outside(grant.name)}' takes the identity from the service account's annotation "
            f"{' or '.join(grant.annotations)}, and the request carries none of them",
        )
    identity = annotations[key]
    if identity != PRINCIPAL and not registry.is_service_account_email(identity):
        try:
            registry.parse_role(identity)
        except ValueError as error:
            raise PullpassError(
                "identity-invalid", f"annotation {key} is '{outside(identity)}', which names no identity: {error}"
            ) from None
    if not any(patterns.allow_matches(pattern, values, identity) for pattern in grant.allow):
        raise PullpassError(
            "identity-not-allowed",
            f"annotation {key} asks for '{outside(identity)}', which grant '{outside(grant.name)}' does not allow",
        )
    return identity


def _check_fits(identity: str, target: Target, grant: Grant) -> None:
    """Refuse an identity of one cloud for a registry of the other."""
    if target.kind == registry.GCR:
        if identity == PRINCIPAL or registry.is_service_account_email(identity):
            return
        takes = "a Google service account or `principal`"
    else:
        if patterns.is_role(identity):
            return
        takes = "an IAM role"
    raise PullpassError(
        "identity-mismatch",
        f"grant '{outside(grant.name)}' gives {outside(identity)} for {_image(target)}, which takes {takes}",
    )
