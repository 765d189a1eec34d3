"""Which services a request can be for, by the name of the host that it asks: AWS's, Google's, a node's own, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloud import hosts
from cloud.gcp import hosts as google_hosts
from cloud.tls import LOOPBACK_NAMES

if TYPE_CHECKING:
    from cloud.gcp.world import GoogleWorld
    from cloud.records import Request
    from cloud.world import World

# Addresses and names on the link of a node: both clouds' metadata servers have the same address.
_LINK = {
    "169.254.169.254": ("imds", "gmetadata"),
    "[fd00:ec2::254]": ("imds",),
    "metadata.google.internal": ("gmetadata",),
    "metadata.google.internal.": ("gmetadata",),
    "169.254.170.2": ("container",),
    "169.254.170.23": ("container",),
    "[fd00:ec2::23]": ("container",),
}


def place(request: Request, world: World, google: GoogleWorld, default: tuple[str, str]) -> bool:
    """Note the services that `request` can be for, with region and account; False when its host is none of ours.

    Args:
        request: the request.
        world: AWS's side, for the aliases of registries.
        google: Google's side, for the same, for its universes and for the default location.
        default: account and region of the registry on the bare port.
    """
    if host := hosts.parse(request.host):
        request.named, request.region, request.account = (host.service,), host.region, host.account
    elif name := google_hosts.parse(request.host, google.universes):
        request.named, request.region = (name.service,), name.location
    elif request.host in world.aliases:
        request.named, (request.account, request.region) = ("registry",), world.aliases[request.host]
    elif request.host in google.aliases:
        request.named, request.region = ("artifact",), google.aliases[request.host]
    elif request.host in _LINK:
        request.named = _LINK[request.host]
    elif request.host not in LOOPBACK_NAMES:
        return False
    elif request.site == "artifact":
        request.named, request.region = ("artifact",), google.location
    elif request.site == "public":
        request.named = ("public",)
    elif request.path.startswith("/v2"):
        request.account, request.region = default
    return True
