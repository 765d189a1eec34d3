"""The file of an approval: bytes to values and back.

Rules:

* What is written is one compact JSON document with a line feed, its members in the order below; the schema is
  `schemas/approval.json`.
* A reader takes unknown members (a newer program may have written them) and nothing else that the schema does not:
  an approval is believed or not, never guessed.
"""

from __future__ import annotations

from pullpass.lean import NamedTuple, to_json
from pullpass.store import digest, moments, strict
from pullpass.store.strict import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

API_VERSION = "pullpass/v1"
KIND = "PullApproval"
APPROVED = "approved"
DENIED = "denied"


class Repository(NamedTuple):
    """One repository that an approval's credential was handed out for.

    Attributes:
        first_approved_s: when it was the first time.
        grant: the name of the grant that said yes.
    """

    first_approved_s: float
    grant: str


class Approval(NamedTuple):
    """That a subject was given a credential as an identity; moments in seconds since the epoch.

    Attributes:
        key: the name that plan, cache entry and intent have as well; `id` in the file.
        state: `APPROVED` or `DENIED`.
        cluster: the cluster's name.
        issuer: the token's, or "".
        namespace: the service account's, or "" without a token.
        service_account: its name, or "".
        uid: its uid, or "".
        identity: what the subject became.
        opens: what the credential gives access to.
        credential_hash: the kubelet's hash of it; "" when there never was one.
        registry_expires_s: the password's own end; 0 when there never was one, as the next four.
        session_expires_s: the end of the session behind it.
        first_approved_s: of the first credential under this key.
        last_validated_s: the time just before the last exchange that succeeded was sent.
        expires_s: until when the approval stands.
        validated_by: what asked for that exchange: `request`.
        validated_under: ids of all `revalidate` orders that were in force when it began.
        rotations: how often a credential has taken the place of another.
        previous_hashes: of those, the last at the end.
        repositories: by image without tag and digest.
        token_hash: SHA-256 of the token that was exchanged, or "" without one, as the next two.
        jti: its id.
        pod: the pod it was bound to.
        token_expires_s: its end; 0 without one.
        principal: who the cloud says the bearer is, or "".
        access_key_id: the session's, or "".
        request_ids: the cloud's ids of the exchange.
        denied_at_s: when the cloud said no; None when it did not.
        denied_code: how.
        unreachable_at_s: when an exchange found the cloud unreachable after `last_validated_s`; None when none did.
    """

    key: str
    state: str
    cluster: str
    issuer: str
    namespace: str
    service_account: str
    uid: str
    identity: str
    opens: str
    credential_hash: str = ""
    registry_expires_s: float = 0.0
    session_expires_s: float = 0.0
    first_approved_s: float = 0.0
    last_validated_s: float = 0.0
    expires_s: float = 0.0
    validated_by: str = "request"
    validated_under: tuple[str, ...] = ()
    rotations: int = 0
    previous_hashes: tuple[str, ...] = ()
    repositories: dict[str, Repository] = {}  # noqa: RUF012 - never changed in place
    token_hash: str = ""
    jti: str = ""
    pod: str = ""
    token_expires_s: float = 0.0
    principal: str = ""
    access_key_id: str = ""
    request_ids: tuple[str, ...] = ()
    denied_at_s: float | None = None
    denied_code: str = ""
    unreachable_at_s: float | None = None

    @property
    def life_ends_s(self) -> float:
        """When the first of password and session ends."""
        return min(self.registry_expires_s, self.session_expires_s)


def document(approval: Approval) -> dict[str, Any]:
    """The file's document."""
    account = {"namespace": approval.namespace, "name": approval.service_account, "uid": approval.uid}
    evidence = {
        "tokenHash": approval.token_hash,
        "jti": approval.jti,
        "tokenExpires": moments.text(approval.token_expires_s),
        "pod": approval.pod,
    }
    written: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "id": approval.key,
        "state": approval.state,
        "cluster": approval.cluster,
        "issuer": approval.issuer,
        "serviceAccount": account if approval.namespace else None,
        "identity": approval.identity,
        "opens": approval.opens,
        "credentialHash": approval.credential_hash,
        "registryExpires": _written(approval.registry_expires_s),
        "sessionExpires": _written(approval.session_expires_s),
        "firstApproved": _written(approval.first_approved_s),
        "lastValidated": _written(approval.last_validated_s),
        "validatedBy": approval.validated_by,
        "validatedUnder": list(approval.validated_under),
        "expires": _written(approval.expires_s),
        "rotations": approval.rotations,
        "previousHashes": list(approval.previous_hashes),
        "repositories": {
            image: {"firstApproved": moments.text(item.first_approved_s), "grant": item.grant}
            for image, item in approval.repositories.items()
        },
        "evidence": evidence if approval.token_hash else None,
        "cloud": {
            "principal": approval.principal,
            "accessKeyId": approval.access_key_id,
            "requestIds": list(approval.request_ids),
        },
    }
    if approval.denied_at_s is not None:
        written["deniedAt"] = moments.text(approval.denied_at_s)
        written["deniedCode"] = approval.denied_code
    if approval.unreachable_at_s is not None:
        written["unreachableAt"] = moments.text(approval.unreachable_at_s)
    return written


def render(approval: Approval) -> bytes:
    """The file's bytes."""
    return to_json(document(approval)).encode("ascii") + b"\n"


def parse(raw: bytes) -> Approval:
    """Read a file.

    Raises:
        DocumentError: it is no approval that this version of the program understands.
    """
    read = _Reader(strict.parse(raw))
    if read.text("apiVersion") != API_VERSION or read.text("kind") != KIND:
        raise DocumentError("syntax", f"is no {KIND} of {API_VERSION}")
    state = read.text("state")
    if state not in (APPROVED, DENIED):
        raise DocumentError("syntax", "has a state that is neither approved nor denied")
    account, evidence = read.member_or_null("serviceAccount"), read.member_or_null("evidence")
    cloud = read.member("cloud")
    found = Approval(
        key=read.hash("id"),
        state=state,
        cluster=read.text("cluster"),
        issuer=read.text("issuer"),
        namespace=account.text("namespace") if account else "",
        service_account=account.text("name") if account else "",
        uid=account.text("uid") if account else "",
        identity=read.text("identity"),
        opens=read.text("opens"),
        credential_hash=read.hash("credentialHash", or_none=True),
        registry_expires_s=read.moment_or_null("registryExpires"),
        session_expires_s=read.moment_or_null("sessionExpires"),
        first_approved_s=read.moment_or_null("firstApproved"),
        last_validated_s=read.moment_or_null("lastValidated"),
        expires_s=read.moment_or_null("expires"),
        validated_by=read.text("validatedBy"),
        validated_under=read.texts("validatedUnder"),
        rotations=read.count("rotations"),
        previous_hashes=read.hashes("previousHashes"),
        repositories=_repositories(read.member("repositories")),
        token_hash=evidence.hash("tokenHash") if evidence else "",
        jti=evidence.text("jti") if evidence else "",
        pod=evidence.text("pod") if evidence else "",
        token_expires_s=evidence.moment("tokenExpires") if evidence else 0.0,
        principal=cloud.text("principal"),
        access_key_id=cloud.text("accessKeyId"),
        request_ids=cloud.texts("requestIds"),
        denied_at_s=read.moment_if_any("deniedAt"),
        denied_code=_denied_code(read, state),
        unreachable_at_s=read.moment_if_any("unreachableAt"),
    )
    _check_state(found, strict.shown(read.members, "deniedAt"))
    return found


def _check_state(found: Approval, denied_at: str) -> None:
    """Refuse a state without what it stands for."""
    whole = found.credential_hash and found.expires_s and found.last_validated_s and found.registry_expires_s
    if found.state == APPROVED and not (whole and found.session_expires_s and found.first_approved_s):
        raise DocumentError("syntax", "says approved, without a credential or the moments that bound it")
    if (found.state == DENIED) != (found.denied_at_s is not None):
        raise DocumentError("syntax", f"says {found.state}, and has {denied_at} as deniedAt")


def _denied_code(read: _Reader, state: str) -> str:
    if state == DENIED:
        return read.text("deniedCode")
    if "deniedCode" in read.members:  # it says nothing here; what is no text is refused all the same, as by the schema
        read.text("deniedCode")
    return ""


def _repositories(part: _Reader) -> dict[str, Repository]:
    found = {}
    for image in part.names():
        item = part.member(image)
        found[image] = Repository(item.moment("firstApproved"), item.text("grant"))
    return found


def _written(moment_s: float) -> str | None:
    return moments.text(moment_s) if moment_s else None


class _Reader:
    """The members of an object, each of its kind or an error; null is not absent."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise DocumentError("syntax", f"has {strict.describe(value)} where an object belongs")
        self.members: dict[str, object] = value

    def names(self) -> list[str]:
        return list(self.members)

    def text(self, name: str) -> str:
        value = self.members.get(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.members.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "an array of strings")
        return tuple(value)

    def hash(self, name: str, *, or_none: bool = False) -> str:
        value = self.text(name)
        if not digest.is_sha256(value) and not (or_none and value == ""):
            raise self._wrong(name, "a SHA-256 in lower-case hex")
        return value

    def hashes(self, name: str) -> tuple[str, ...]:
        values = self.texts(name)
        if not all(digest.is_sha256(value) for value in values):
            raise self._wrong(name, "an array of SHA-256 in lower-case hex")
        return values

    def count(self, name: str) -> int:
        value = self.members.get(name)
        if type(value) is not int or value < 0:  # true is an int as well
            raise self._wrong(name, "a number of times")
        return value

    def moment(self, name: str) -> float:
        try:
            return moments.parse(self.text(name))
        except ValueError:
            raise self._wrong(name, "a moment in UTC") from None

    def moment_or_null(self, name: str) -> float:
        return 0.0 if self._is_null(name) else self.moment(name)

    def moment_if_any(self, name: str) -> float | None:
        return self.moment(name) if name in self.members else None

    def member(self, name: str) -> _Reader:
        return _Reader(self.members.get(name))

    def member_or_null(self, name: str) -> _Reader | None:
        return None if self._is_null(name) else self.member(name)

    def _is_null(self, name: str) -> bool:
        return self.members.get(name, "absent") is None

    def _wrong(self, name: str, expected: str) -> DocumentError:
        return DocumentError("syntax", f"has {strict.shown(self.members, name)} as {name}, expected {expected}")
