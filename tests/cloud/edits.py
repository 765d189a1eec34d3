"""Ways in which a real answer can be wrong, by name: fields to set, and fields to leave out.

`EDITS[service][kind]` makes the fields to set (path -> value) from the cloud's time, `DROPS[service][kind]` lists the
fields to leave out. An answer that has no such fields stays as it is.
"""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Edits = Mapping[str, Callable[[float], dict[str, Any]]]

HOUR_S = 3600


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _ecr(data: str) -> dict[str, Callable[[float], dict[str, Any]]]:
    """What can be wrong with an authorization token that is below `data`."""
    token, expires = f"{data}.authorizationToken", f"{data}.expiresAt"
    return {
        "password-without-colon": lambda _: {token: _b64(b"AWSnocolonhere")},
        "password-empty": lambda _: {token: _b64(b"AWS:")},
        "user-empty": lambda _: {token: _b64(b":secret")},
        "token-not-base64": lambda _: {token: "%% not base64 %%"},
        "token-not-utf8": lambda _: {token: _b64(b"AWS:\xff\xfe\x00")},
        "token-null": lambda _: {token: None},
        "authorization-data-null": lambda _: {"authorizationData": None},
        "expires-null": lambda _: {expires: None},
        "expires-past": lambda now_s: {expires: now_s - HOUR_S},
        "expires-huge": lambda _: {expires: 1e300},
        "expires-milliseconds": lambda now_s: {expires: int((now_s + 12 * HOUR_S) * 1000)},
        "expires-text": lambda _: {expires: "tomorrow"},
    }


def _session(expiration: str, token: str) -> dict[str, Callable[[float], dict[str, Any]]]:
    """What can be wrong with a session's credentials."""
    return {
        "expiration-past": lambda _: {expiration: "2015-01-01T00:00:00Z"},
        "expiration-unparsable": lambda _: {expiration: "tomorrow"},
        "expiration-empty": lambda _: {expiration: ""},
        **({} if token == "" else {"token-null": lambda _: {token: None}}),
    }


def _google_token() -> dict[str, Callable[[float], dict[str, Any]]]:
    """What can be wrong with an OAuth token answer (RFC 6749, section 5.1)."""
    values: dict[str, tuple[str, Any]] = {
        "expires-null": ("expires_in", None),
        "expires-zero": ("expires_in", 0),
        "expires-negative": ("expires_in", -60),
        "expires-huge": ("expires_in", 10**18),
        "expires-string": ("expires_in", "3599"),
        "expires-float": ("expires_in", 3598.7),
        "expires-float-string": ("expires_in", "3598.7"),
        "expires-text": ("expires_in", "soon"),
        "expires-true": ("expires_in", True),
        "expires-list": ("expires_in", [3599]),
        "token-null": ("access_token", None),
        "token-empty": ("access_token", ""),
        "token-number": ("access_token", 7),
        "token-two-lines": ("access_token", "ya29.first\r\nX-Second: line"),
        "token-not-ascii": ("access_token", "ya29.tök€n"),
        "token-type-mac": ("token_type", "mac"),
    }
    return {kind: _setting(*field) for kind, field in values.items()}


def _impersonated() -> dict[str, Callable[[float], dict[str, Any]]]:
    """What can be wrong with an answer of generateAccessToken."""
    expire = "expireTime"
    values: dict[str, tuple[str, Any]] = {
        "expire-null": (expire, None),
        "expire-text": (expire, "tomorrow"),
        "expire-past": (expire, "2015-01-01T00:00:00Z"),
        "expire-huge": (expire, "9999-12-31T23:59:59Z"),
        "expire-number": (expire, 1893456000),
        "token-null": ("accessToken", None),
        "token-empty": ("accessToken", ""),
        "token-number": ("accessToken", 7),
        "token-two-lines": ("accessToken", "ya29.first\r\nX-Second: line"),
        "token-not-ascii": ("accessToken", "ya29.tök€n"),
    }
    # The same moment, an hour from now, in the other forms that RFC 3339 and the API allow; and one without a zone.
    forms = {
        "expire-fraction": (".250Z", 0),
        "expire-nanoseconds": (".123456789Z", 0),
        "expire-utc-offset": ("+00:00", 0),
        "expire-offset": ("+05:30", 5.5 * HOUR_S),
        "expire-without-zone": ("", 0),
    }
    moments = {kind: _moment(expire, suffix, shift_s) for kind, (suffix, shift_s) in forms.items()}
    return {**{kind: _setting(*field) for kind, field in values.items()}, **moments}


def _setting(path: str, value: Any) -> Callable[[float], dict[str, Any]]:
    return lambda _: {path: value}


def _moment(path: str, suffix: str, shift_s: float) -> Callable[[float], dict[str, Any]]:
    return lambda now_s: {path: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(now_s) + HOUR_S + shift_s)) + suffix}


EDITS: Mapping[str, Edits] = {
    "ecr": {**_ecr("authorizationData.0"), "no-authorization-data": lambda _: {"authorizationData": []}},
    "ecr-public": _ecr("authorizationData"),
    "sts": _session("Credentials.Expiration", ""),
    "imds": {
        **_session("Expiration", "Token"),
        "code-failed": lambda _: {"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role."},
    },
    "container": _session("Expiration", "Token"),
    "gsts": _google_token(),
    "gmetadata": _google_token(),
    "iamcredentials": _impersonated(),
}


def _without(**fields: str) -> dict[str, list[str]]:
    return {kind.replace("_", "-"): [path] for kind, path in fields.items()}


_KEYS = _without(
    no_access_key="AccessKeyId", no_secret_key="SecretAccessKey", no_session_token="Token", no_expiration="Expiration"
)
_GOOGLE = _without(expires_missing="expires_in", token_missing="access_token", token_type_missing="token_type")
DROPS: Mapping[str, Mapping[str, list[str]]] = {
    "ecr": _without(
        no_authorization_token="authorizationData.0.authorizationToken",
        expires_missing="authorizationData.0.expiresAt",
        authorization_data_missing="authorizationData",
    ),
    "ecr-public": _without(
        no_authorization_token="authorizationData.authorizationToken",
        expires_missing="authorizationData.expiresAt",
        authorization_data_missing="authorizationData",
    ),
    "sts": _without(
        no_credentials="Credentials",
        no_access_key="Credentials.AccessKeyId",
        no_secret_key="Credentials.SecretAccessKey",
        no_session_token="Credentials.SessionToken",
        no_expiration="Credentials.Expiration",
    ),
    "imds": _KEYS,
    "container": _KEYS,
    "gsts": _GOOGLE,
    "gmetadata": _GOOGLE,
    "iamcredentials": _without(expire_missing="expireTime", token_missing="accessToken"),
}
