"""The kubelet's request and response: bytes to values and back.

Rules (exec API `credentialprovider.kubelet.k8s.io/v1`, KEP-2133 and KEP-4412):

* A request is one strict JSON document (`pullpass.store.strict`) of at most `LIMIT_BYTES`, of exactly this group,
  version and kind. Older versions carry no token, so they are refused rather than answered with less.
* Unknown fields are ignored: a newer kubelet may add some. The fields we read must have their types.
* A response is what the kubelet's strict decoder takes, and not a byte more: it rejects unknown fields, and an empty
  user name and password would be tried against the registry as a credential.
* `cacheKeyType` is always `Image`: with `Registry` the kubelet would reuse an answer for repositories that policy never
  saw.
"""

from __future__ import annotations

from pullpass import registry
from pullpass.errors import PullpassError, outside
from pullpass.lean import NamedTuple, to_json
from pullpass.secret import Secret
from pullpass.store import strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.exchange import Credential
    from pullpass.registry import Target

LIMIT_BYTES = 1 << 20
GROUP = "credentialprovider.kubelet.k8s.io"
API_VERSION = f"{GROUP}/v1"
REQUEST_KIND = "CredentialProviderRequest"
RESPONSE_KIND = "CredentialProviderResponse"


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


def parse(raw: bytes) -> Request:
    """Read a request.

    Args:
        raw: the whole of stdin; one byte more than `LIMIT_BYTES` is enough to be refused as too long.

    Raises:
        PullpassError: `request-too-long`, `request-version`, `request-kind`, `request-field`; for what is no strict
            JSON document `request-empty`, `request-encoding`, `request-syntax`, `request-trailing-data`,
            `request-duplicate-key`, `request-nesting`.
    """
    if len(raw) > LIMIT_BYTES:
        raise PullpassError("request-too-long", f"the request has more than {LIMIT_BYTES} bytes")
    try:
        document = strict.parse(raw)
    except strict.DocumentError as error:
        raise PullpassError(f"request-{error.problem}", f"the request {error.what}") from None
    if not isinstance(document, dict):
        raise PullpassError("request-field", f"the request is {strict.describe(document)}, not an object")
    _check_version(document)
    if document.get("kind") != REQUEST_KIND:
        raise PullpassError("request-kind", f"kind is {strict.shown(document, 'kind')}, expected {REQUEST_KIND}")
    image = document.get("image")
    if not isinstance(image, str) or not image:
        raise PullpassError("request-field", f"image is {strict.shown(document, 'image')}, expected a repository name")
    # An empty token is how Go spells an absent one.
    token = document.get("serviceAccountToken", "")
    if not isinstance(token, str):
        raise PullpassError("request-field", f"serviceAccountToken is {strict.describe(token)}, expected a string")
    return Request(image, Secret(token) if token else None, _annotations(document))


def _check_version(document: dict[str, object]) -> None:
    version = document.get("apiVersion")
    if version == API_VERSION:
        return
    hint = None
    if isinstance(version, str) and version.rpartition("/")[0] != GROUP:
        hint = f"only the kubelet's exec API {API_VERSION} is spoken here"
    shown = strict.shown(document, "apiVersion")
    raise PullpassError("request-version", f"apiVersion is {shown}, expected {API_VERSION}", hint)


def _annotations(document: dict[str, object]) -> dict[str, str]:
    annotations = document.get("serviceAccountAnnotations", {})
    if not isinstance(annotations, dict):
        raise PullpassError(
            "request-field", f"serviceAccountAnnotations is {strict.describe(annotations)}, expected an object"
        )
    for key, value in annotations.items():
        if not isinstance(value, str):
            raise PullpassError(
                "request-field", f"the annotation {outside(key)} is {strict.describe(value)}, expected a string"
            )
    return annotations


def render(target: Target, credential: Credential | None, cache_duration_s: int) -> bytes:
    """Write a response: one compact line of ASCII.

    Args:
        target: where the image lives; decides which images the kubelet may use the credential for.
        credential: None for an answer without one.
        cache_duration_s: how long the kubelet may keep the answer; 0: not at all.

    Raises:
        PullpassError: `internal` for a response that must never leave.
    """
    if cache_duration_s < 0:
        raise PullpassError("internal", f"a cache duration of {cache_duration_s} seconds")
    auth = {}
    if credential is not None:
        username, password = credential.username, credential.secret.reveal()
        if not username or not password:
            raise PullpassError("internal", "a credential without a user name or password")
        auth[registry.auth_key(target)] = {"username": username, "password": password}
    document = {
        "kind": RESPONSE_KIND,
        "apiVersion": API_VERSION,
        "cacheKeyType": "Image",
        "cacheDuration": f"{cache_duration_s:d}s",  # Go's ParseDuration takes any number of seconds
        "auth": auth,
    }
    return to_json(document).encode("ascii") + b"\n"


def check_echo(credential: Credential, token: Secret | None) -> None:
    """Refuse a credential that is the token we sent.

    The kubelet rejects a response whose password equals the token, as that would hand a pod's identity to a registry;
    it does not look at the user name, nor at a password that only contains it.

    Raises:
        PullpassError: `credential-echo`.
    """
    if token is not None:
        sent = token.reveal()
        if sent in credential.username or sent in credential.secret.reveal():
            raise PullpassError("credential-echo", "the cloud's credential contains the service-account token itself")
