"""What happens to an approval: a credential, a denial, another repository, a cloud that can't be reached."""

from __future__ import annotations

from pullpass.approvals.codec import APPROVED, DENIED, Approval, Repository
from pullpass.lean import NamedTuple, sha256
from pullpass.store import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.exchange import Credential, Plan
    from pullpass.identity import Subject
    from pullpass.secret import Secret

HASHES_KEPT = 8
# One credential of Google's opens every repository that its bearer may read; an approval names this many at most, so
# that a workload that walks through thousands of names can't make the file that every request reads grow.
REPOSITORIES_KEPT = 1000


class Asked(NamedTuple):
    """What an approval is about, besides the credential.

    Attributes:
        cluster: the cluster's name.
        subject: who asks; None without a token.
        token: what was exchanged; None without one.
        plan: what was asked for.
        image: host and repository.
        grant: the name of the grant that said yes.
    """

    cluster: str
    subject: Subject | None
    token: Secret | None
    plan: Plan
    image: str
    grant: str


class Validation(NamedTuple):
    """The circumstances of an exchange.

    Attributes:
        sent_s: the time just before it was sent, seconds since the epoch.
        max_age_s: `approval.max_age`.
        under: ids of all `revalidate` orders in force then.
    """

    sent_s: float
    max_age_s: float
    under: tuple[str, ...]


def credential_hash(credential: Credential) -> str:
    """The hash by which an approval knows its credential: the kubelet's."""
    return digest.credential_hash(credential.username, credential.secret.reveal())


def validated(
    before: Approval | None,
    asked: Asked,
    credential: Credential,
    when: Validation,
) -> Approval:
    """The approval after an exchange that succeeded.

    Args:
        before: the one stored so far, whatever its state; None when there was none.
        asked: what it is about.
        credential: what the cloud gave.
        when: the exchange was sent.
    """
    base = before or _blank(asked)
    new_hash = credential_hash(credential)
    rotated = base.credential_hash not in ("", new_hash)
    subject, token = asked.subject, asked.token
    return with_repository(
        base._replace(
            state=APPROVED,
            credential_hash=new_hash,
            registry_expires_s=credential.registry_expires_s,
            session_expires_s=credential.session_expires_s,
            first_approved_s=base.first_approved_s or when.sent_s,
            last_validated_s=when.sent_s,
            expires_s=min(credential.life_ends_s, when.sent_s + when.max_age_s),
            validated_by="request",
            validated_under=when.under,
            rotations=base.rotations + rotated,
            previous_hashes=(*base.previous_hashes, base.credential_hash)[-HASHES_KEPT:]
            if rotated
            else base.previous_hashes,
            token_hash=sha256(token.reveal().encode("utf-8", "surrogatepass")).hexdigest() if token else "",
            jti=subject.jti if subject else "",
            pod=subject.pod if subject else "",
            token_expires_s=subject.expires_s if subject else 0.0,
            principal=credential.principal,
            access_key_id=credential.access_key_id,
            request_ids=credential.request_ids,
            denied_at_s=None,
            denied_code="",
            unreachable_at_s=None,
        ),
        asked,
        when.sent_s,
    )


def with_repository(approval: Approval, asked: Asked, now_s: float) -> Approval:
    """The approval that lists the image as well; itself when it does."""
    if asked.image in approval.repositories:
        return approval
    kept = list(approval.repositories.items())[-(REPOSITORIES_KEPT - 1) :]
    return approval._replace(repositories=dict(kept) | {asked.image: Repository(now_s, asked.grant)})


def denied(before: Approval | None, asked: Asked, now_s: float, code: str) -> Approval:
    """The approval after the cloud said no; it keeps its history.

    Args:
        before: the one stored so far, or None.
        asked: what it is about.
        now_s: when the cloud's answer was there.
        code: of the error.
    """
    return (before or _blank(asked))._replace(state=DENIED, denied_at_s=now_s, denied_code=code)


def unreachable(before: Approval, now_s: float) -> Approval:
    """The approval after an exchange that did not reach the cloud."""
    return before._replace(unreachable_at_s=now_s)


def _blank(asked: Asked) -> Approval:
    subject = asked.subject
    return Approval(
        key=asked.plan.key,
        state=DENIED,
        cluster=asked.cluster,
        issuer=subject.issuer if subject else "",
        namespace=subject.namespace if subject else "",
        service_account=subject.service_account if subject else "",
        uid=subject.uid if subject else "",
        identity=asked.plan.identity,
        opens=asked.plan.opens,
    )
