"""Which registry an image lives in: the host gate of pullpass.

The kubelet asks for whatever its `matchImages` let through, and an answer is sent to the host of the image. So a host
that is not certainly a registry we hold credentials for is refused: handing an ECR password to a look-alike gives the
registry away. The rules:

* The image has the form the kubelet sends: host and repository, no tag, no digest (`registry.image`).
* ECR hosts are recognised by one table of partitions; account, form, region and suffix must belong together
  (`registry.aws`). Google's hosts are a closed list of forms. Anything else must be configured by its exact name.
* A host that speaks for itself can't be redefined by an alias.
* Nothing is folded: upper case, a trailing dot, a port or a punycode label is another name.
"""

from __future__ import annotations

from pullpass.errors import PullpassError, outside
from pullpass.lean import NamedTuple
from pullpass.registry import aws, image
from pullpass.registry.aws import Role, endpoint, parse_role, partition_of
from pullpass.registry.google import is_google_host, is_service_account_email
from pullpass.registry.image import check_host
from pullpass.registry.kubelet import clean_auth_key, host_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class Alias(Protocol):
        """What `match` wants to know about a configured name in front of ECR."""

        @property
        def host(self) -> str:
            """The name, with its port if it has one."""

        @property
        def account(self) -> str:
            """The AWS account behind it."""

        @property
        def region(self) -> str:
            """The AWS region behind it."""


__all__ = [
    "ECR",
    "ECR_PUBLIC",
    "GCR",
    "Role",
    "Target",
    "auth_key",
    "check_host",
    "clean_auth_key",
    "endpoint",
    "host_matches",
    "is_service_account_email",
    "match",
    "parse_role",
    "partition_of",
]

ECR = "ecr"
ECR_PUBLIC = "ecr-public"
GCR = "gcr"

# Both serve the same registry; the second has IPv6 (AWS, "Making requests to Amazon ECR Public registries").
ECR_PUBLIC_HOSTS = {"public.ecr.aws": False, "ecr-public.aws.com": True}
# Where ECR Public's password is asked for: the registry itself has no regions (General Reference, ECR Public).
ECR_PUBLIC_REGION = "us-east-1"


class Target(NamedTuple):
    """Where an image lives.

    Attributes:
        kind: `ECR`, `ECR_PUBLIC` or `GCR`.
        host: the registry host as in the request, with its port if it has one.
        repository: the path below the host, without tag and digest.
        account: the AWS account (12 digits), or "".
        region: the AWS region, or "".
        partition: the AWS partition, or "".
        fips: the host is a FIPS endpoint, so the API calls go to FIPS endpoints.
        dual_stack: the host is a dual-stack one, so the API calls go to dual-stack endpoints.
    """

    kind: str
    host: str
    repository: str
    account: str = ""
    region: str = ""
    partition: str = ""
    fips: bool = False
    dual_stack: bool = False

    @property
    def image(self) -> str:
        """Host and repository, as grants name it."""
        return f"{self.host}/{self.repository}"


def match(name: str, aliases: Iterable[Alias] = (), gcr_hosts: Iterable[str] = ()) -> Target:
    """Find the registry of an image.

    Args:
        name: the request's `image`.
        aliases: configured names in front of ECR.
        gcr_hosts: configured hosts of Google's registries, besides the built-in ones.

    Raises:
        PullpassError: `image-invalid` when it is no image as the kubelet sends it, `registry-unknown` when its host is
            not ours; the hint says what is wrong with the host where that can be told.
    """
    try:
        host, repository = image.split(name)
    except ValueError as error:
        raise PullpassError("image-invalid", f"image '{_shown(name)}': {error}") from None
    ecr = aws.parse_host(host)
    if ecr is None:
        ecr = _alias(host, aliases)
    if ecr is not None:
        if len(repository) < aws.REPOSITORY_MIN_CHARS:
            raise PullpassError("image-invalid", f"image '{outside(name)}': ECR has no repository of one character")
        return Target(ECR, host, repository, ecr.account, ecr.region, ecr.partition, ecr.fips, ecr.dual_stack)
    if host in ECR_PUBLIC_HOSTS:
        dual_stack = ECR_PUBLIC_HOSTS[host]
        return Target(ECR_PUBLIC, host, repository, "", ECR_PUBLIC_REGION, "aws", fips=False, dual_stack=dual_stack)
    if is_google_host(host) or host in tuple(gcr_hosts):
        return Target(GCR, host, repository)
    what = f"host '{outside(host)}' of image '{outside(name)}' is no registry that is known here"
    raise PullpassError("registry-unknown", what, _hint(host))


def _shown(name: str) -> str:
    """A malformed name for an error, without what stands before an `@` where a password may stand."""
    before, at, after = name.rpartition("://")[2].partition("@")
    return outside(f"[hidden]@{after}" if at and "/" not in before else name)


def auth_key(target: Target) -> str:
    """The key of the response's `auth` entry: the image, exactly.

    The kubelet takes a key's path as a raw prefix, and strips a first segment `v1` or `v2` from it before it compares;
    for those the host alone is the key. That a prefix matches longer names as well does no harm: with the cache key
    type `Image` the kubelet uses an answer for the image that it asked about, and for no other.

    Source: kubernetes/kubernetes, `pkg/credentialprovider/keyring.go`, `BasicDockerKeyring.Add`.
    """
    first = target.repository.partition("/")[0]
    return target.host if first in ("v1", "v2") else target.image


def _alias(host: str, aliases: Iterable[Alias]) -> aws.EcrHost | None:
    for alias in aliases:
        if alias.host == host:
            partition = partition_of(alias.region)
            if partition is None:
                # The loader checks aliases; a region without a partition has no endpoint to send a token to.
                raise ValueError(f"alias {host!r}: {alias.region!r} is no AWS region")
            return aws.EcrHost(alias.account, alias.region, partition)
    return None


def _hint(host: str) -> str | None:
    """What is wrong with a host, as far as it can be told."""
    name, colon, _ = host.partition(":")
    if name != name.lower():
        return "host names are compared as they are written: write it in lower case in the pod"
    if name.endswith("."):
        return "write it without the trailing dot in the pod"
    if colon:
        return "a host with a port must be configured by that name as [[ecr.alias]] or in gcr.hosts"
    if any(label.startswith("xn--") for label in name.split(".")):
        return "an internationalised name is accepted only if configured as [[ecr.alias]] or in gcr.hosts"
    return aws.explain_host(name)
