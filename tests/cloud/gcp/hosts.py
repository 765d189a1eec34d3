"""The host names of Google that the local cloud answers for.

Sources: the discovery documents of STS and IAM Credentials, and the Artifact Registry documentation. Written apart from
the program's own table on purpose: the two are meant to disagree when one of them is wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

UNIVERSE = "googleapis.com"
# host -> (location, repository); these names have no repository in the image's path
_GCR = {
    "gcr.io": ("us", "gcr.io"),
    "us.gcr.io": ("us", "us.gcr.io"),
    "eu.gcr.io": ("europe", "eu.gcr.io"),
    "asia.gcr.io": ("asia", "asia.gcr.io"),
}
_LOCATION = "[a-z]+(?:-[a-z]+[0-9]+)?"
_DOCKER = re.compile(rf"({_LOCATION})-docker\.pkg\.dev|docker\.({_LOCATION})\.rep\.pkg\.dev")
_STS = re.compile(
    rf"sts(?:\.mtls)?\.googleapis\.com|sts\.{_LOCATION}\.rep\.googleapis\.com|sts-[a-z0-9-]+\.p\.googleapis\.com"
)
_IAM = re.compile(r"iamcredentials(?:\.mtls)?\.googleapis\.com|iamcredentials-[a-z0-9-]+\.p\.googleapis\.com")


class Host(NamedTuple):
    """What a host name says.

    Attributes:
        service: `gsts`, `iamcredentials` or `artifact`.
        location: of the registry.
        repository: for the names of gcr.io, the repository they stand for.
    """

    service: str
    location: str | None = None
    repository: str | None = None


def parse(host: str, universes: Collection[str]) -> Host | None:
    """What `host` (lower case, without a port) names, or None when that is no name of Google's.

    Args:
        host: the name.
        universes: further universe domains that exist.
    """
    if host in _GCR:
        return Host("artifact", *_GCR[host])
    if match := _DOCKER.fullmatch(host):
        return Host("artifact", match[1] or match[2])
    for pattern, label, service in ((_STS, "sts.", "gsts"), (_IAM, "iamcredentials.", "iamcredentials")):
        if pattern.fullmatch(host) or (host.startswith(label) and host.removeprefix(label) in universes):
            return Host(service)
    return None
