"""Who asks: the claims of a bound service-account token, read without a JWT library.

Rules (RFC 7515, RFC 7519; claims as of kube-apiserver's `pkg/serviceaccount/claims.go`):

* This reader checks everything about a token but its signature; that is the cloud's job, and `exchange.token`'s where
  the operator gives it keys. Importing a JWT library takes as long as several refusals.
* It is stricter than the library: one encoding of each part, no duplicate keys, integer times, legal Kubernetes names.
  Names become part of role names, so nothing may pass that the API server would not have accepted as one.
* What is no token of an API server exits with 2; what is one, but not for us or not now, with 3.
* `exp` has no leeway: a token that the cloud will refuse is not sent. `nbf` and `iat` may be `AHEAD_S` ahead, because
  the API server's clock is not this node's.
"""

from __future__ import annotations

import binascii

from pullpass.errors import PullpassError, outside
from pullpass.lean import NamedTuple
from pullpass.store import strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.secret import Secret

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
LIMIT_CHARS = 20_000  # AWS STS takes no longer one
AHEAD_S = 60
LAST_MOMENT_S = 253_402_300_799  # the end of year 9999, the last that RFC 3339 can write

_TO_STANDARD = str.maketrans("-_", "+/")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class Subject(NamedTuple):
    """Who asks. No token is `None`, not a Subject.

    Attributes:
        issuer: the token's `iss`.
        namespace: the service account's namespace.
        service_account: its name.
        uid: its uid.
        pod: the name of the pod the token is bound to, or "".
        node: the name of the node, or "".
        audiences: the token's `aud`.
        expires_s: the token's `exp`, seconds since the epoch.
        jti: the token's id, or "".
    """

    issuer: str
    namespace: str
    service_account: str
    uid: str
    pod: str
    node: str
    audiences: tuple[str, ...]
    expires_s: float
    jti: str


def read(token: Secret | None, issuers: tuple[str, ...], now_s: float) -> Subject | None:
    """Read a token's claims and check that it is one of these issuers' and valid now.

    Args:
        token: None for a request without one.
        issuers: those the operator accepts.
        now_s: the time, seconds since the epoch.

    Raises:
        PullpassError: `token-malformed`, `token-algorithm`, `token-claims` (2); `token-issuer`, `token-expired`,
            `token-not-yet-valid` (3).
    """
    if token is None:
        return None
    _, claims = decode(token.reveal())
    subject = subject_of(claims)
    if subject.issuer not in issuers:
        raise PullpassError(
            "token-issuer", f"the token's issuer is {outside(subject.issuer)}, expected {' or '.join(issuers)}"
        )
    check_times(claims, now_s)
    return subject


def check_audience(subject: Subject, expected: str) -> None:
    """Refuse a token that was made for somebody else, or for somebody else as well.

    The kubelet asks for tokens with one audience each. One with two could be taken by the first cloud to the second.

    Raises:
        PullpassError: `token-audience`.
    """
    if set(subject.audiences) != {expected}:
        found = outside(", ".join(subject.audiences))
        raise PullpassError("token-audience", f"the token is for the audience {found}, expected {expected} alone")


def check_times(payload: dict[str, object], now_s: float) -> None:
    """Refuse a token that is not valid now.

    Args:
        payload: the decoded payload.
        now_s: the time, seconds since the epoch.

    Raises:
        PullpassError: `token-expired`, `token-not-yet-valid`, or `token-claims` for what is not a time.
    """
    claims = _Claims(payload)
    expires_s = claims.moment("exp")
    if now_s >= expires_s:
        raise PullpassError("token-expired", f"the token expired {now_s - expires_s:.0f}s ago")
    for name in ("iat", "nbf") if "nbf" in claims else ("iat",):
        ahead_s = claims.moment(name) - now_s
        if ahead_s > AHEAD_S:
            raise PullpassError(
                "token-not-yet-valid",
                f"the token's {name} is {ahead_s:.0f}s ahead of this node's clock, at most {AHEAD_S}s are accepted",
            )


def subject_of(payload: dict[str, object]) -> Subject:
    """Make the subject of a decoded payload, whoever decoded it.

    Raises:
        PullpassError: `token-claims`.
    """
    claims = _Claims(payload)
    private = claims.object("kubernetes.io")
    account = private.object("serviceaccount")
    subject = Subject(
        issuer=claims.text("iss", LIMIT_CHARS),
        namespace=private.label("namespace"),
        service_account=account.name("name"),
        uid=account.text("uid", 128),
        # The uids of these are not read: a node that the API server didn't find has none.
        pod=private.object("pod").name("name") if "pod" in private else "",
        node=private.object("node").name("name") if "node" in private else "",
        audiences=claims.texts("aud"),
        expires_s=float(claims.moment("exp")),
        jti=claims.text("jti", 128) if "jti" in claims else "",
    )
    stated = claims.text("sub", LIMIT_CHARS)
    expected = f"system:serviceaccount:{subject.namespace}:{subject.service_account}"
    if stated != expected:
        raise PullpassError(
            "token-claims", f"the token's claim sub is {outside(stated)}, but its private claims make {expected}"
        )
    return subject


def decode(text: str) -> tuple[dict[str, object], dict[str, object]]:
    """The header and the payload of a token that has the right form; the header's own claims are checked.

    Raises:
        PullpassError: `token-malformed`, `token-algorithm`.
    """
    if len(text) > LIMIT_CHARS:
        raise PullpassError(
            "token-malformed", f"the token has {len(text)} characters, at most {LIMIT_CHARS} are accepted"
        )
    parts = text.split(".")
    if len(parts) != 3:
        raise PullpassError("token-malformed", f"the token has {len(parts)} parts separated by dots, expected 3")
    header = _document(parts[0], "header")
    _check_header(header)
    payload = _document(parts[1], "payload")
    _decode(parts[2], "signature")
    return header, payload


def _decode(part: str, name: str) -> bytes:
    """Base64url without padding, in its one canonical form, so that no two texts are the same token."""
    try:
        data = binascii.a2b_base64(part.translate(_TO_STANDARD) + "=" * (-len(part) % 4))
    except ValueError:
        data = b""
    # Decoding skips what is no base64, so the proof is that encoding gives the same text again.
    if not data or binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode() != part:
        raise PullpassError("token-malformed", f"the token's {name} is not base64url without padding")
    return data


def _document(part: str, name: str) -> dict[str, object]:
    try:
        document = strict.parse(_decode(part, name))
    except strict.DocumentError as error:
        raise PullpassError("token-malformed", f"the token's {name} {error.what}") from None
    if not isinstance(document, dict):
        raise PullpassError("token-malformed", f"the token's {name} is {strict.describe(document)}, expected an object")
    return document


def _check_header(header: dict[str, object]) -> None:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise PullpassError(
            "token-algorithm",
            f"the token's alg is {strict.shown(header, 'alg')}, expected RS or ES with 256, 384 or 512",
        )
    # RFC 7515 4.1.11: an extension that is marked as critical and not understood makes the token invalid. `b64` says
    # that the payload is not what it looks like (RFC 7797). API servers write neither.
    for name in ("crit", "b64"):
        if name in header:
            raise PullpassError("token-malformed", f"the token's header has {name}, which is not supported")
    if not isinstance(header.get("kid", ""), str):
        raise PullpassError("token-malformed", f"the token's kid is {strict.shown(header, 'kid')}, expected a string")


class _Claims:
    """An object of claims, and where in the token it stands."""

    __slots__ = ("_claims", "_path")

    def __init__(self, claims: dict[str, object], path: str = "") -> None:
        self._claims = claims
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self._claims

    def object(self, name: str) -> _Claims:
        value = self._claims.get(name)
        if not isinstance(value, dict):
            raise self._wrong(name, "an object")
        return _Claims(value, f"{self._path}{name}.")

    def text(self, name: str, limit_chars: int) -> str:
        value = self._claims.get(name)
        if isinstance(value, str) and 0 < len(value) <= limit_chars and value.isascii() and value.isprintable():
            return value
        raise self._wrong(name, f"1 to {limit_chars} printable ASCII characters")

    def label(self, name: str) -> str:
        """A name as Kubernetes takes it for a namespace: a DNS label."""
        value = self._claims.get(name)
        if isinstance(value, str) and len(value) <= 63 and _is_label(value):
            return value
        raise self._wrong(name, "a DNS label of at most 63 characters")

    def name(self, name: str) -> str:
        """A name as Kubernetes takes it for accounts, pods and nodes: labels of any length with dots between them."""
        value = self._claims.get(name)
        if isinstance(value, str) and len(value) <= 253 and all(map(_is_label, value.split("."))):
            return value
        raise self._wrong(name, "a DNS name of at most 253 characters")

    def texts(self, name: str) -> tuple[str, ...]:
        """One string, or an array of at least one."""
        value = self._claims.get(name)
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts):
            return tuple(texts)
        raise self._wrong(name, "a string or an array of strings")

    def moment(self, name: str) -> int:
        """A time. Other kinds of numbers are refused: libraries differ in what they make of `1e400`, `true`, `"1"`."""
        value = self._claims.get(name)
        if type(value) is int and 0 < value <= LAST_MOMENT_S:
            return value
        raise self._wrong(name, "whole seconds since the epoch")

    def _wrong(self, name: str, expected: str) -> PullpassError:
        return PullpassError(
            "token-claims",
            f"the token's claim {self._path}{name} is {strict.shown(self._claims, name)}, expected {expected}",
        )


def _is_label(text: str) -> bool:
    return bool(text) and _LABEL.issuperset(text) and "-" not in (text[0], text[-1])
