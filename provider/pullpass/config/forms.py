"""The forms of this configuration's values: names, paths, URLs, patterns, identities."""

from __future__ import annotations

import ipaddress
import re

from pullpass import registry
from pullpass.config.checks import Check, Finding, Wrong, explained, pattern, text, wrong
from pullpass.errors import PullpassError

# Every cluster that was set up without an issuer of its own has one of these, so such a token says nothing about which
# cluster it is from (kube-apiserver: the default of kubeadm, its form with the default cluster domain, and the issuer
# of legacy secret tokens).
SHARED_ISSUERS = (
    "https://kubernetes.default.svc",
    "https://kubernetes.default.svc.cluster.local",
    "kubernetes/serviceaccount",
)


def _printable(limit: int) -> str:
    return rf"[!-~]{{1,{limit}}}"


def _is_path(value: str) -> bool:
    parts = value.split("/")
    return value.isprintable() and len(parts) > 1 and not parts[0] and not {"", ".", ".."} & set(parts[1:])


CLUSTER = pattern("a name of 1 to 32 characters out of a-z, 0-9 and -", r"[a-z0-9-]{1,32}")
PATH = text("an absolute path without . and .. parts, doubled or trailing slashes", _is_path)
# Google allows 256 characters in an audience; the API server needs them as an RBAC resource.
AUDIENCE = pattern("an audience of 1 to 256 printable ASCII characters without blanks", _printable(256))
ACCOUNT = pattern("an AWS account of 12 digits, in quotes", r"[0-9]{12}")
REGION = text("an AWS region such as us-west-2", lambda value: registry.partition_of(value) is not None)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
UNIVERSE = pattern("a domain such as googleapis.com", rf"(?=.{{1,253}}\Z)({_LABEL}\.)+[a-z]{{2,63}}")
_SCOPE = r"[!#-\[\]-~]{1,256}"  # RFC 6749, 3.3
SCOPES = pattern("OAuth scopes, separated by single blanks", f"{_SCOPE}( {_SCOPE}){{0,15}}")
PROVIDER = pattern(
    "//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"
    " or identitynamespace:PROJECT.svc.id.goog:PROVIDER_URL",
    r"//iam\.googleapis\.com/projects/[0-9]{1,20}/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}"
    r"|identitynamespace:[a-z0-9.:-]{1,128}\.svc\.id\.goog:https://[!-~]{1,512}",
)
NAME = text("a name of 1 to 100 printable characters", lambda value: 0 < len(value) <= 100 and value.isprintable())


def _check_own_host(host: str) -> None:
    registry.check_host(host)
    try:
        registry.match(f"{host}/repository")
    except PullpassError:
        return
    raise ValueError("a registry's own name needs no configuration and can't be given another meaning")


OWN_HOST = explained("a registry host such as images.example.com", _check_own_host)

# --- URLs

# A closed list of characters, so that nothing is left for two parsers to read in two ways: no user information, query
# or fragment, no backslash, no blank.
_URL = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?((?:/[A-Za-z0-9._~!$&'()*+,;=:%-]+)*)/?")


_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_url(value: str, *, path: bool) -> bool:
    match = _URL.fullmatch(value)
    if match is None or (match[1] == "http" and not _is_loopback(match[2])):
        return False
    return _is_url_of(match, path=path)


def _is_url_of(match: re.Match[str], *, path: bool) -> bool:
    """Whether host, port and path of a match of `_URL` are what they look like."""
    _, host, port, rest = match.groups()
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
    elif not _HOST_NAME.fullmatch(host):
        return False
    if port is not None and not 0 < int(port) < 65536:
        return False
    return bool(rest) or not path


def url(what: str, *, path: bool = False) -> Check:
    """A URL that a token may be sent to: https anywhere, http on loopback only.

    Args:
        what: the URL in words.
        path: whether it must have a path.
    """
    expected = f"{what}: https (http on loopback only), no user information, query or fragment"

    def read(value: object) -> str:
        if isinstance(value, str) and _is_url(value, path=path):
            return value
        if isinstance(value, str) and "@" in value:
            raise Wrong(Finding("", "has user information (not shown)", expected))
        raise wrong(value, expected)

    return Check(expected, read)


# The documented addresses of AWS (the second one is for container credentials) and of Google over IPv6 are not
# link-local ones, but on the node's link all the same.
_METADATA_ADDRESSES = ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254")


def is_metadata_host(host: str) -> bool:
    """Whether a metadata service may be asked at `host`: what is there is this machine, or answers on its own link.

    An address, not a name: whoever can answer for a name could hand the node another one's identity.
    """
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local or str(address) in _METADATA_ADDRESSES


def _is_metadata_url(value: str) -> bool:
    match = _URL.fullmatch(value)
    return match is not None and match[1] == "http" and is_metadata_host(match[2]) and _is_url_of(match, path=False)


METADATA = "http://169.254.169.254"
METADATA_URL = text(
    f"the base URL of a metadata service such as {METADATA}: http, and a link-local or loopback address",
    _is_metadata_url,
)
BASE_URL = url("a base URL such as https://vpce-1.sts.us-west-2.vpce.amazonaws.com")
TOKEN_URL = url("a whole URL such as https://sts.googleapis.com/v1/token", path=True)
_ISSUER_URL = url("an issuer URL such as https://oidc.example.com/prod-1")
_ISSUER_TEXT = pattern("an issuer of 1 to 512 printable ASCII characters without blanks", _printable(512))


def _read_issuer(value: object) -> str:
    # An issuer is a name, compared byte for byte; the URLs among them are held to what OpenID Connect Discovery says.
    check = _ISSUER_URL if isinstance(value, str) and "://" in value else _ISSUER_TEXT
    issuer: str = check.read(value)
    return issuer


ISSUER = Check("an issuer such as https://oidc.example.com/prod-1", _read_issuer)
