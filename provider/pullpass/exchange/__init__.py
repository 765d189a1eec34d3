"""The network step: a token and an identity become a credential.

A plan (`exchange.plan`) says what is sent; its kind chooses the exchanger that sends it. Exchangers are named by
strings, because loading one loads its cloud's SDK, which costs more than everything else together: only a request that
needs the network pays for it.
"""

from __future__ import annotations

from typing import NamedTuple

from pullpass.errors import PullpassError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from pullpass.clock import Clock, Deadline
    from pullpass.exchange.plan import Plan
    from pullpass.identity import Subject
    from pullpass.secret import Secret

    class Verifier(Protocol):
        """Reads a token in full; see `exchange.token.verify`."""

        def __call__(self, token: Secret, subject: Subject, audience: str, jwks_path: str, now_s: float) -> None:
            """Raise `PullpassError` when the token is not what `subject` says."""

    class Exchanger(Protocol):
        """Sends what a plan says."""

        def __call__(self, plan: Plan, token: Secret, deadline: Deadline, clock: Clock) -> Credential:
            """Exchange `token` for a credential.

            Args:
                plan: what to send.
                token: the pod's service-account token.
                deadline: of the whole run.
                clock: the run's clock.

            Raises:
                PullpassError: with an upstream class when the cloud refused, was not reached, or made no sense.
            """


class Credential(NamedTuple):
    """What a registry accepts.

    Attributes:
        username: the user name.
        secret: the password.
        registry_expires_s: the password's own end, seconds since the epoch.
        session_expires_s: the end of the session behind it.
        principal: who the cloud says the bearer is (a session ARN, an e-mail).
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


# kind of a plan -> (the exchanger as "module:function", the extra that brings what it imports)
TABLE: dict[str, tuple[str, str]] = {
    "ecr": ("pullpass.exchange.aws:exchange", "aws"),
}
VERIFIER = "pullpass.exchange.token:verify"


def load(kind: str) -> Exchanger:
    """Import the exchanger for plans of `kind`.

    Raises:
        PullpassError: `extra-missing` when its SDK is not installed.
    """
    where, extra = TABLE[kind]
    exchanger: Exchanger = _resolve(where, f"pullpass[{extra}]")
    return exchanger


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
        raise PullpassError(
            "extra-missing",
            f"the Python module {error.name} is not installed",
            f"run `pip install '{distribution}'` for the interpreter that runs pullpass",
        ) from None
