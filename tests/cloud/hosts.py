"""The host names of AWS that the local cloud answers for: service, region, partition, registry account.

Sources: the AWS General Reference (endpoints of ECR, ECR Public and STS), botocore's endpoint data, and the PrivateLink
guide (names of interface endpoints, which have `vpce-ID.` in front and `vpce.` before the domain). Written apart from
the program's own table on purpose: the two are meant to disagree when one of them is wrong.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# partition -> (domain of the classic names, domain of the dual-stack names)
_DOMAINS = {
    "aws": ("amazonaws.com", "api.aws"),
    "aws-cn": ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    "aws-us-gov": ("amazonaws.com", "api.aws"),
    "aws-eusc": ("amazonaws.eu", "api.amazonwebservices.eu"),
    "aws-iso": ("c2s.ic.gov", "api.aws.ic.gov"),
    "aws-iso-b": ("sc2s.sgov.gov", "api.aws.scloud"),
    "aws-iso-e": ("cloud.adc-e.uk", ""),
    "aws-iso-f": ("csp.hci.ic.gov", ""),
}
_PREFIXES = [
    ("us-gov-", "aws-us-gov"), ("us-isob-", "aws-iso-b"), ("us-isof-", "aws-iso-f"), ("us-iso-", "aws-iso"),
    ("eu-isoe-", "aws-iso-e"), ("eusc-", "aws-eusc"), ("cn-", "aws-cn"),
]  # fmt: skip
_ENDPOINT = re.compile(
    r"(?:(\d{12})\.)?vpce-[0-9a-f]+(?:-[0-9a-z]+)*\.(sts|api\.ecr|dkr\.ecr)\.([a-z0-9-]+)\.vpce\.(.+)"
)
_REGISTRY = re.compile(r"(\d{12})\.dkr([.-])ecr(-fips)?\.([a-z0-9-]+)\.(.+)")
_API = re.compile(r"(?:(sts)(-fips)?|(?:(api)\.)?(ecr)(-fips)?)\.([a-z0-9-]+)\.(.+)")


class Host(NamedTuple):
    """What a host name says."""

    service: str
    region: str
    partition: str
    account: str | None = None


# ECR Public is in one region of one partition; STS has a name that is older than its regions.
_SINGLE = {
    "sts.amazonaws.com": Host("sts", "us-east-1", "aws"),
    "public.ecr.aws": Host("public", "us-east-1", "aws"),
    "ecr-public.aws.com": Host("public", "us-east-1", "aws"),
    "api.ecr-public.us-east-1.amazonaws.com": Host("ecr-public", "us-east-1", "aws"),
    "ecr-public.us-east-1.api.aws": Host("ecr-public", "us-east-1", "aws"),
}


def partition_of(region: str) -> str:
    """The partition of a region, by the region's prefix."""
    return next((partition for prefix, partition in _PREFIXES if region.startswith(prefix)), "aws")


def registry_host(account: str, region: str) -> str:
    """The classic name of a registry."""
    return f"{account}.dkr.ecr.{region}.{_DOMAINS[partition_of(region)][0]}"


def parse(host: str) -> Host | None:
    """What `host` (lower case, without a port) names, or None when that is no name of AWS's STS, ECR or registries."""
    return _SINGLE.get(host) or _registry(host) or _api(host) or _interface_endpoint(host)


def _registry(host: str) -> Host | None:
    match = _REGISTRY.fullmatch(host)
    if match is None:
        return None
    account, dash, _fips, region, domain = match.groups()
    partition = partition_of(region)
    classic = _DOMAINS[partition][0]
    dual = {"aws": "on.aws", "aws-us-gov": "on.aws", "aws-cn": "on.amazonwebservices.com.cn"}.get(partition)
    return Host("registry", region, partition, account) if domain == (classic if dash == "." else dual) else None


def _api(host: str) -> Host | None:
    match = _API.fullmatch(host)
    if match is None:
        return None
    sts, _, api, ecr, _, region, domain = match.groups()
    partition = partition_of(region)
    classic, dual = _DOMAINS[partition]
    # The name that the General Reference lists for ECR's FIPS endpoint has no `api.` in front.
    listed = bool(ecr and "-fips." in host and domain == classic)
    if listed or (sts and domain in {classic, dual}) or (ecr and domain == (classic if api else dual)):
        return Host(sts or ecr, region, partition)
    return None


def _interface_endpoint(host: str) -> Host | None:
    match = _ENDPOINT.fullmatch(host)
    if match is None:
        return None
    account, kind, region, domain = match.groups()
    partition = partition_of(region)
    service = {"sts": "sts", "api.ecr": "ecr", "dkr.ecr": "registry"}[kind]
    # Only a registry has an account in its name, and without it nothing says whose it is.
    if domain != _DOMAINS[partition][0] or (account is not None) != (service == "registry"):
        return None
    return Host(service, region, partition, account)
