"""The one table of AWS partitions, and what is read with it: ECR hosts, API endpoints, role ARNs.

A region belongs to one partition, and a partition has one suffix for each kind of host. botocore's own partition data
holds the API suffixes and a test compares them; the registry suffixes come from the General Reference (Amazon ECR
endpoints) and from ecr-credential-provider's host expression.
"""

from __future__ import annotations

from pullpass.lean import NamedTuple

REPOSITORY_MIN_CHARS = 2  # ECR API reference, CreateRepository

_DIGITS = frozenset("0123456789")
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
_NAME = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-")  # IAM: [\w+=,.@-], ASCII


class Partition(NamedTuple):
    """One AWS partition.

    Attributes:
        name: as in ARNs.
        prefixes: what its regions begin with, before the last word and the number.
        suffix: the DNS suffix of registry hosts and of API hosts.
        registry_dual_stack: the suffix of dual-stack registry hosts, or "" where none is known.
        api_dual_stack: the suffix of dual-stack API hosts, or "" where the SDK forms none.
        fips_regions: the regions that have FIPS registry hosts; elsewhere such a name need not resolve.
    """

    name: str
    prefixes: tuple[str, ...]
    suffix: str
    registry_dual_stack: str
    api_dual_stack: str
    fips_regions: tuple[str, ...] = ()


_FIPS = ("us-east-1", "us-east-2", "us-west-1", "us-west-2")
_FIPS_GOV = ("us-gov-east-1", "us-gov-west-1")

PARTITIONS = (
    Partition(
        "aws", ("us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx"), "amazonaws.com", "on.aws", "api.aws", _FIPS
    ),
    Partition("aws-us-gov", ("us-gov",), "amazonaws.com", "on.aws", "api.aws", _FIPS_GOV),
    Partition("aws-cn", ("cn",), "amazonaws.com.cn", "on.amazonwebservices.com.cn", "api.amazonwebservices.com.cn"),
    Partition("aws-eusc", ("eusc-de",), "amazonaws.eu", "", "api.amazonwebservices.eu"),
    Partition("aws-iso", ("us-iso",), "c2s.ic.gov", "", "api.aws.ic.gov"),
    Partition("aws-iso-b", ("us-isob",), "sc2s.sgov.gov", "", "api.aws.scloud"),
    Partition("aws-iso-e", ("eu-isoe",), "cloud.adc-e.uk", "", ""),
    Partition("aws-iso-f", ("us-isof",), "csp.hci.ic.gov", "", ""),
)
_BY_PREFIX = {prefix: partition for partition in PARTITIONS for prefix in partition.prefixes}
_ROLE_FORM = "arn:PARTITION:iam::ACCOUNT:role/NAME"


class EcrHost(NamedTuple):
    """What a private ECR registry host says."""

    account: str
    region: str
    partition: str
    fips: bool = False
    dual_stack: bool = False


class Role(NamedTuple):
    """An IAM role ARN, taken apart.

    Attributes:
        partition: the AWS partition.
        account: the AWS account, 12 digits.
        path_and_name: what follows `role/`, for example `pull/team-a/web`.
    """

    partition: str
    account: str
    path_and_name: str


def partition_of(region: str) -> str | None:
    """The name of the partition that a region belongs to, or None when it has no region's form or prefix.

    Regions that are not built yet are accepted where their prefix is known: a new region needs no new release.
    """
    partition = _partition(region)
    return partition.name if partition else None


def endpoint(service: str, region: str, *, fips: bool, dual_stack: bool) -> str:
    """The base URL of an API, as the SDK's own rules form it.

    It is given to the SDK explicitly, so that nothing in its environment chooses another host, and shown by `explain`.

    Args:
        service: `sts`, `ecr` or `ecr-public`.
        region: an AWS region.
        fips: the FIPS endpoint.
        dual_stack: the endpoint that has IPv6 too.

    Raises:
        ValueError: no such region, or the region has no such endpoint.
    """
    partition = _partition(region)
    if partition is None:
        raise ValueError(f"{region!r} is no AWS region")
    if fips and region not in partition.fips_regions:
        raise ValueError(f"{region} has no FIPS endpoints for ECR")
    suffix = partition.api_dual_stack if dual_stack else partition.suffix
    if not suffix:
        raise ValueError(f"{region} has no dual-stack endpoints")
    label = service
    if fips and not (service == "sts" and partition.name == "aws-us-gov" and not dual_stack):
        # GovCloud's ordinary STS endpoint is its FIPS endpoint; only the dual-stack one has a name of its own.
        label += "-fips"
    if service.startswith("ecr") and not dual_stack:
        label = f"api.{label}"
    return f"https://{label}.{region}.{suffix}"


def parse_host(host: str) -> EcrHost | None:
    """What a private ECR registry host says, or None when it is none.

    The forms, with account A, region R and the suffixes of R's partition:

        A.dkr.ecr.R.SUFFIX              A.dkr.ecr-fips.R.SUFFIX
        A.dkr-ecr.R.DUAL_STACK_SUFFIX   A.dkr-ecr-fips.R.DUAL_STACK_SUFFIX
        A.vpce-ID.dkr.ecr.R.vpce.SUFFIX

    The last is an interface endpoint; without the account in front it does not say whose registry it opens.
    """
    account, _, rest = host.partition(".")
    if not _is_account(account):
        return None
    endpoint_id = ""
    if rest.startswith("vpce-"):
        endpoint_id, _, rest = rest.partition(".")
        if not _is_endpoint_id(endpoint_id):
            return None
    form, region, suffix = _form(rest)
    partition = _partition(region)
    if partition is None:
        return None
    fips = form.endswith("-fips")
    dual_stack = form.startswith("dkr-ecr")
    if fips and (endpoint_id or region not in partition.fips_regions):
        return None
    expected = partition.registry_dual_stack if dual_stack else partition.suffix
    if endpoint_id:
        expected = "" if dual_stack else f"vpce.{expected}"
    if not expected or suffix != expected:
        return None
    return EcrHost(account, region, partition.name, fips, dual_stack)


def explain_host(name: str) -> str | None:
    """Why a host that looks like ECR is none, as a hint; None when it does not look like ECR."""
    suffixes = [suffix for row in PARTITIONS for suffix in (row.suffix, row.registry_dual_stack) if suffix]
    if not any(name.endswith(f".{suffix}") for suffix in suffixes):
        for suffix in suffixes:
            if f".{suffix}." in name:
                return f"{suffix} stands inside the host, not at its end, so it is not a host of AWS: do not trust it"
    account, _, rest = name.partition(".")
    if account.startswith("vpce-"):
        return "an interface endpoint names no account: configure the host as [[ecr.alias]], or put ACCOUNT. before it"
    if rest.startswith("vpce-"):
        rest = rest.partition(".")[2]
    form, region, _ = _form(rest)
    if not form:
        return None
    if not _is_account(account):
        return "a host of ECR begins with the 12 digits of an AWS account"
    return _explain_region(form, region)


def _explain_region(form: str, region: str) -> str:
    partition = _partition(region)
    if partition is None:
        return f"{region!r} is no AWS region"
    if form.endswith("-fips") and region not in partition.fips_regions:
        regions = ", ".join(region for row in PARTITIONS for region in row.fips_regions)
        return f"FIPS registry hosts exist in {regions} only"
    hosts = f"ACCOUNT.dkr.ecr.{region}.{partition.suffix}"
    if partition.registry_dual_stack:
        hosts += f" or ACCOUNT.dkr-ecr.{region}.{partition.registry_dual_stack}"
    return f"in {region} a host of ECR is {hosts}"


def parse_role(arn: str) -> Role:
    r"""Take an IAM role ARN apart.

    Source: IAM API reference, CreateRole (a name of 1 to 64 characters of `[\w+=,.@-]`, a path of up to 512 printable
    ASCII characters). STS takes ARNs of 20 to 2048 characters, which follows from the rest. Narrower than IAM: no
    empty path segment, and no `*` or `?` in the path, which an allow-list and IAM's policies read as something else.

    Raises:
        ValueError: says what is wrong, without quoting the text.
    """
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        raise ValueError(f"it is not of the form {_ROLE_FORM}")
    _, partition, service, region, account, resource = parts
    if partition not in (row.name for row in PARTITIONS):
        raise ValueError("its partition is none of " + ", ".join(row.name for row in PARTITIONS))
    kind, _, path_and_name = resource.partition("/")
    if service != "iam" or region or kind != "role":
        raise ValueError(f"it does not name an IAM role ({_ROLE_FORM})")
    if not _is_account(account):
        raise ValueError("its account is not 12 digits")
    *path, name = path_and_name.split("/")
    if not 1 <= len(name) <= 64 or not _NAME.issuperset(name):
        raise ValueError("its role name is not 1 to 64 letters, digits or any of _+=,.@-")
    if len(path_and_name) - len(name) > 511:  # with the slash before it, which IAM counts as well
        raise ValueError("its path has more than 512 characters")
    if "" in path:
        raise ValueError("its path has an empty segment")
    if not all("!" <= char <= "~" and char not in "*?" for segment in path for char in segment):
        raise ValueError("its path has a character that is not printable ASCII, or a wildcard")
    return Role(partition, account, path_and_name)


def _is_account(text: str) -> bool:
    return len(text) == 12 and _DIGITS.issuperset(text)


def _partition(region: str) -> Partition | None:
    prefix, _, number = region.rpartition("-")
    prefix, _, word = prefix.rpartition("-")
    if not (0 < len(number) <= 2 and _DIGITS.issuperset(number) and number[0] != "0"):
        return None
    if not (0 < len(word) <= 16 and _LOWER.issuperset(word)):
        return None
    return _BY_PREFIX.get(prefix)


def _form(rest: str) -> tuple[str, str, str]:
    """Form (`dkr.ecr`, `dkr-ecr-fips`, ...), region and suffix of a host without its account; or all empty."""
    for form in ("dkr.ecr", "dkr.ecr-fips", "dkr-ecr", "dkr-ecr-fips"):
        if rest.startswith(f"{form}."):
            region, _, suffix = rest[len(form) + 1 :].partition(".")
            return form, region, suffix
    return "", "", ""


def _is_endpoint_id(label: str) -> bool:
    """Whether it is `vpce-HEX-ID`, with or without an availability zone behind it."""
    parts = label.split("-")
    return (
        len(parts) >= 3
        and all(parts)
        and frozenset("0123456789abcdef").issuperset(parts[1])
        and all((_LOWER | _DIGITS).issuperset(part) for part in parts[2:])
    )
