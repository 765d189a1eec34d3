"""The network step: a token and an identity become a credential.

A plan (`exchange.plan`) says what is sent; its kind chooses the exchanger that sends it. Exchangers are named by
strings, because loading one loads its cloud's SDK, which costs more than everything else together: only a request that
needs the network pays for it.
"""

from __future__ import annotations

from pullpass.errors import PullpassError
from pullpass.lean import NamedTuple
from pullpass.store import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pullpass.clock import Clock, Deadline
    from pullpass.identity import Subject
    from pullpass.policy import Decision
    from pullpass.secret import Secret

    class Verifier(Protocol):
        """Reads a token in full; see `exchange.token.verify`."""

        def __call__(self, token: Secret, subject: Subject, audience: str, jwks_path: str, now_s: float) -> None:
            """Raise `PullpassError` when the token is not what `subject` says."""

    class Plan(Protocol):
        """What every cloud's plan has; each has more, for its own exchanger."""

        @property
        def kind(self) -> str:
            """A row of `TABLE`, which chooses the exchanger."""

        @property
        def key(self) -> str:
            """The name of the approval, cache entry and intent."""

        @property
        def opens(self) -> str:
            """What the credential gives access to."""

        @property
        def identity(self) -> str:
            """What the workload becomes."""

        @property
        def life_follows_token(self) -> bool:
            """Whether the credential ends when the token does, so that the same token again gives nothing longer."""

        @property
        def calls(self) -> tuple[Call, ...]:
            """What would be called, in order."""

    class Exchanger(Protocol):
        """Sends what a plan says."""

        def __call__(self, plan: Any, token: Secret | None, deadline: Deadline, clock: Clock) -> Credential:
            """Exchange `token` for a credential.

            Args:
                plan: what to send: the kind of plan that its row is for.
                token: the pod's service-account token; None for the node's own identity.
                deadline: of the whole run.
                clock: the run's clock.

            Raises:
                PullpassError: with an upstream class when the cloud refused, was not reached, or made no sense.
            """


class Call(NamedTuple):
    """One call that would be made.

    Attributes:
        action: as the cloud names it.
        url: where it would be sent.
        summary: with what, in a few words.
    """

    action: str
    url: str
    summary: str


class Credential(NamedTuple):
    """What a registry accepts.

    Attributes:
        username: the user name.
        secret: the password.
        registry_expires_s: the password's own end, seconds since the epoch.
        session_expires_s: the end of the session behind it.
        principal: who the cloud says the bearer is (a session ARN, an e-mail, the name of a node's role), or "".
        access_key_id: the session's access key id, or "".
        request_ids: the cloud's ids of the requests that made it.
    """

    username: str
    secret: Secret
    registry_expires_s: float
    session_expires_s: float
    principal: str
    access_key_id: str
    request_ids: tuple[str, ...]

    @property
    def life_ends_s(self) -> float:
        """When the first of password and session ends."""
        return min(self.registry_expires_s, self.session_expires_s)


def key(  # noqa: PLR0913 - one argument for each part of a key
    subject: Subject | None,
    cluster: str,
    decision: Decision,
    opens: str,
    *,
    endpoints: tuple[str, ...],
    session_policy: str = "",
    oauth_scope: str = "",
    duration_s: int,
) -> str:
    """The one name of approval, cache entry and intent (the design, "One key").

    Args:
        subject: who asks; without a token every name of it is "".
        cluster: the cluster's name.
        decision: the identity, and the hop behind it.
        opens: what the credential gives access to.
        endpoints: the URLs that are called, in an order of their own for each kind of plan.
        session_policy: what limits the session, or "".
        oauth_scope: what limits the access token, or "".
        duration_s: how long the session or access token is asked for.
    """
    return digest.key(
        (
            ("issuer", subject.issuer if subject else ""),
            ("cluster", cluster),
            ("namespace", subject.namespace if subject else ""),
            ("serviceAccount", subject.service_account if subject else ""),
            ("uid", subject.uid if subject else ""),
            ("identity", decision.identity),
            ("via", decision.via),
            ("opens", opens),
            *(("endpoint", url) for url in endpoints),
            ("sessionPolicy", digest.sha256_hex(session_policy.encode("ascii"))),
            ("oauthScope", oauth_scope),
            ("duration", str(duration_s)),
        )
    )


# kind of a plan -> (the exchanger as "module:function", the extra that brings what it imports)
TABLE: dict[str, tuple[str, str]] = {
    "ecr": ("pullpass.exchange.aws:exchange", "aws"),
    "gcr": ("pullpass.exchange.gcp:exchange", "gcp"),
    "gcr-node": ("pullpass.exchange.gcp_node:exchange", "gcp"),
    "ecr-public": ("pullpass.exchange.aws:exchange", "aws"),
}
# extra -> what it brings, whose absence is its absence
EXTRAS = {"aws": "boto3", "gcp": "google.auth"}
VERIFIER = "pullpass.exchange.token:verify"


def load(kind: str) -> Exchanger:
    """Import the exchanger for plans of `kind`.

    Raises:
        PullpassError: `extra-missing` when its SDK is not installed.
    """
    where, extra = TABLE[kind]
    exchanger: Exchanger = _resolve(where, f"pullpass[{extra}]")
    return exchanger


def check_installed(extra: str) -> None:
    """Look whether an extra is installed, without importing it.

    Args:
        extra: a key of `EXTRAS`.

    Raises:
        PullpassError: `extra-missing`.
    """
    from importlib.util import find_spec  # noqa: PLC0415 - for people's commands

    try:
        found = find_spec(EXTRAS[extra])
    except ModuleNotFoundError:  # the package around it is missing
        found = None
    if found is None:
        raise _missing(EXTRAS[extra], f"pullpass[{extra}]")


def load_verifier() -> Verifier:
    """Import the full reader of tokens, `exchange.token.verify`.

    Raises:
        PullpassError: `extra-missing` when PyJWT is not installed.
    """
    verifier: Verifier = _resolve(VERIFIER, "pullpass")
    return verifier


def _resolve(where: str, distribution: str) -> Any:
    import importlib  # noqa: PLC0415 - only an exchange needs it, a refusal does not pay for it

    module, _, name = where.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "pullpass":
            raise
        raise _missing(error.name, distribution) from None


def _missing(module: str, distribution: str) -> PullpassError:
    return PullpassError(
        "extra-missing",
        f"the Python module {module} is not installed",
        f"run `pip install '{distribution}'` for the interpreter that runs pullpass",
    )
