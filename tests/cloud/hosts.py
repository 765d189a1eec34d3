"""The host names of AWS that the local cloud answers for: service, region, partition, registry account.

Sources: the AWS General Reference (endpoints of ECR and STS) and botocore's endpoint data. Written apart from the
program's own table on purpose: the two are meant to disagree when one of them is wrong.
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
_REGISTRY = re.compile(r"(\d{12})\.dkr([.-])ecr(-fips)?\.([a-z0-9-]+)\.(.+)")
_API = re.compile(r"(?:(sts)(-fips)?|(?:(api)\.)?(ecr)(-fips)?)\.([a-z0-9-]+)\.(.+)")


class Host(NamedTuple):
    """What a host name says."""

    service: str
    region: str
    partition: str
    account: str | None = None


def partition_of(region: str) -> str:
    """The partition of a region, by the region's prefix."""
    return next((partition for prefix, partition in _PREFIXES if region.startswith(prefix)), "aws")


def registry_host(account: str, region: str) -> str:
    """The classic name of a registry."""
    return f"{account}.dkr.ecr.{region}.{_DOMAINS[partition_of(region)][0]}"


def parse(host: str) -> Host | None:
    """What `host` (lower case, without a port) names, or None when that is no name of AWS's STS, ECR or registries."""
    if host == "sts.amazonaws.com":
        return Host("sts", "us-east-1", "aws")
    if match := _REGISTRY.fullmatch(host):
        account, dash, _fips, region, domain = match.groups()
        partition = partition_of(region)
        classic = _DOMAINS[partition][0]
        dual = {"aws": "on.aws", "aws-us-gov": "on.aws", "aws-cn": "on.amazonwebservices.com.cn"}.get(partition)
        return Host("registry", region, partition, account) if domain == (classic if dash == "." else dual) else None
    if match := _API.fullmatch(host):
        sts, _, api, ecr, _, region, domain = match.groups()
        partition = partition_of(region)
        classic, dual = _DOMAINS[partition]
        if (sts and domain in {classic, dual}) or (ecr and domain == (classic if api else dual)):
            return Host(sts or ecr, region, partition)
        # The name that the General Reference lists for ECR's FIPS endpoint has no `api.` in front.
        if ecr and "-fips." in host and domain == classic:
            return Host("ecr", region, partition)
    return None
