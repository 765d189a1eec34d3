"""The kubelet's request and response: bytes to values and back."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.secret import Secret


class Request(NamedTuple):
    """A `CredentialProviderRequest`.

    Attributes:
        image: the normalised repository, without tag and digest.
        token: the pod's service-account token, or None.
        annotations: those of the service account that the provider entry names.
    """

    image: str
    token: Secret | None
    annotations: dict[str, str]
