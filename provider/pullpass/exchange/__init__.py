"""The network step: a token and an identity become a credential."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.secret import Secret


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
