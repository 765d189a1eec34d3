"""The table of AWS partitions against botocore's own data, API endpoints, and role ARNs."""

from __future__ import annotations

import itertools
import re
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointVariantError

from pullpass import registry
from pullpass.registry import Role, endpoint, parse_role, partition_of
from pullpass.registry.aws import PARTITIONS

FIPS_REGIONS = {"us-east-1", "us-east-2", "us-west-1", "us-west-2", "us-gov-east-1", "us-gov-west-1"}
# One region of each partition, all that have FIPS hosts, and some that are not built yet.
REGIONS = sorted(
    FIPS_REGIONS
    | {"eu-west-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1"}
    | {"us-isof-south-1", "mx-moon-9", "us-gov-moon-3", "cn-moon-9", "eu-isoe-west-9"}
)


class _SentError(Exception):
    """Stops a call at the moment its request would be sent."""


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A botocore session that nothing in the environment steers."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    for name in ("AWS_DATA_PATH", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    return botocore.session.Session()


def sent_to(sdk: Any, service: str, region: str, *, fips: bool, dual_stack: bool) -> str:
    """The URL that botocore's request really goes to, or the name of the error with which it finds none."""
    config = Config(use_fips_endpoint=fips, use_dualstack_endpoint=dual_stack)
    urls: list[str] = []

    def stop(request: Any, **_: Any) -> None:
        urls.append(request.url)
        raise _SentError

    try:
        client = sdk.create_client(
            service, region_name=region, aws_access_key_id="a", aws_secret_access_key="b", config=config
        )
        client.meta.events.register("before-send.*.*", stop)
        (client.get_caller_identity if service == "sts" else client.get_authorization_token)()
    except _SentError:
        return urls[0]
    except EndpointVariantError as error:
        return type(error).__name__
    raise AssertionError("nothing was sent")


def prefixes_of(region_regex: str) -> set[str]:
    r"""The region prefixes that an expression such as `^(us|eu)\-\w+\-\d+$` stands for."""
    text = region_regex.removeprefix("^").removesuffix(r"\-\w+\-\d+$").replace(r"\-", "-")
    pieces = [piece.split("|") for piece in re.split(r"[()]", text) if piece]
    return {"".join(choice) for choice in itertools.product(*pieces)}


@pytest.mark.newest
def test_partitions_are_botocores(sdk: Any) -> None:
    """Names, region prefixes, suffixes and every region that botocore lists belong to the same partition here."""
    theirs = {row["id"]: row for row in sdk.get_component("data_loader").load_data("partitions")["partitions"]}
    assert {row.name for row in PARTITIONS} == set(theirs)
    for row in PARTITIONS:
        their = theirs[row.name]
        assert set(row.prefixes) == prefixes_of(their["regionRegex"])
        assert row.suffix == their["outputs"]["dnsSuffix"]
        assert row.api_dual_stack in ("", their["outputs"]["dualStackDnsSuffix"])
        regions = [region for region in their["regions"] if not region.endswith("-global")]
        assert regions
        assert {partition_of(region) for region in regions} == {row.name}


def test_fips_regions_are_botocores(sdk: Any) -> None:
    """The SDK lists a FIPS registry endpoint for exactly the regions that have one here."""
    partitions = sdk.get_component("data_loader").load_data("endpoints")["partitions"]
    rows = (row["services"].get("api.ecr", {"endpoints": {}})["endpoints"] for row in partitions)
    theirs = {name.removeprefix("fips-dkr-") for row in rows for name in row if name.startswith("fips-dkr-")}
    assert theirs == FIPS_REGIONS == {region for row in PARTITIONS for region in row.fips_regions}


@pytest.mark.newest
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("service", ["sts", "ecr"])
def test_endpoints_are_where_botocore_sends(sdk: Any, service: str, region: str) -> None:
    """Every endpoint we form is the one that botocore's own rules choose; where we form none, there is a reason."""
    for fips, dual_stack in itertools.product((False, True), repeat=2):
        if fips and region not in FIPS_REGIONS:
            with pytest.raises(ValueError, match=f"{region} has no FIPS endpoints"):
                endpoint(service, region, fips=fips, dual_stack=dual_stack)
            continue
        sent = sent_to(sdk, service, region, fips=fips, dual_stack=dual_stack)
        if sent == "EndpointVariantError":
            with pytest.raises(ValueError, match=f"{region} has no dual-stack endpoints"):
                endpoint(service, region, fips=fips, dual_stack=dual_stack)
        else:
            assert endpoint(service, region, fips=fips, dual_stack=dual_stack) + "/" == sent


@pytest.mark.newest
@pytest.mark.parametrize("dual_stack", [False, True])
def test_ecr_public_is_where_botocore_sends(sdk: Any, dual_stack: bool) -> None:
    """ECR Public has its API in the region that its passwords are asked for in."""
    region = registry.ECR_PUBLIC_REGION
    ours = endpoint("ecr-public", region, fips=False, dual_stack=dual_stack)
    assert ours + "/" == sent_to(sdk, "ecr-public", region, fips=False, dual_stack=dual_stack)


@pytest.mark.parametrize(
    ("service", "region", "fips", "dual_stack", "url"),
    [
        ("sts", "us-west-2", False, False, "https://sts.us-west-2.amazonaws.com"),
        ("sts", "us-west-2", True, False, "https://sts-fips.us-west-2.amazonaws.com"),
        ("sts", "us-gov-west-1", True, False, "https://sts.us-gov-west-1.amazonaws.com"),
        ("sts", "us-gov-west-1", True, True, "https://sts-fips.us-gov-west-1.api.aws"),
        ("ecr", "us-west-2", False, False, "https://api.ecr.us-west-2.amazonaws.com"),
        ("ecr", "us-west-2", True, False, "https://api.ecr-fips.us-west-2.amazonaws.com"),
        ("ecr", "us-west-2", False, True, "https://ecr.us-west-2.api.aws"),
        ("ecr", "us-west-2", True, True, "https://ecr-fips.us-west-2.api.aws"),
        ("ecr", "cn-north-1", False, True, "https://ecr.cn-north-1.api.amazonwebservices.com.cn"),
        ("ecr-public", "us-east-1", False, False, "https://api.ecr-public.us-east-1.amazonaws.com"),
        ("ecr-public", "us-east-1", False, True, "https://ecr-public.us-east-1.api.aws"),
    ],
)
def test_endpoints_as_written(service: str, region: str, fips: bool, dual_stack: bool, url: str) -> None:
    """The table of the endpoints, independent of the SDK that is installed."""
    assert endpoint(service, region, fips=fips, dual_stack=dual_stack) == url


def test_every_registry_host_has_its_endpoints() -> None:
    """For each form of a host that is accepted, both APIs have an endpoint of the same variant."""
    found = set()
    for row, region, fips, dual_stack in itertools.product(PARTITIONS, REGIONS, (False, True), (False, True)):
        form = ("dkr-ecr" if dual_stack else "dkr.ecr") + ("-fips" if fips else "")
        suffix = row.registry_dual_stack if dual_stack else row.suffix
        host = registry.aws.parse_host(f"111122223333.{form}.{region}.{suffix}")
        if host is not None:
            assert (host.region, host.fips, host.dual_stack) == (region, fips, dual_stack)
            assert region in endpoint("sts", region, fips=fips, dual_stack=dual_stack)
            assert region in endpoint("ecr", region, fips=fips, dual_stack=dual_stack)
            found.add((region, fips, dual_stack))
    assert {region for region, _, _ in found} == set(REGIONS)
    assert {region for region, fips, _ in found if fips} == FIPS_REGIONS
    assert {partition_of(region) for region, _, dual_stack in found if dual_stack} == {"aws", "aws-us-gov", "aws-cn"}


@pytest.mark.parametrize(
    "region",
    [
        "",
        "-",
        "--",
        "us",
        "us-1",
        "us-west",
        "us-west-",
        "us-west-0",
        "us-west-01",
        "us-west-123",
        "us--1",
        "-west-1",
        "us-west-2-",
        "us-west-2 ",
        "us-west-2\n",
        "us-west-²",
        "US-WEST-2",
        "us-West-2",
        "us-wést-2",
        "us-gov-west-north-1",
        "xx-moon-1",
        "aws-global",
        "us-west-2.evil",
        "us/west-2",
        f"us-{'w' * 17}-1",
    ],
)
def test_what_is_no_region(region: str) -> None:
    """Strict form, known prefix; nothing that could change a host name passes."""
    assert partition_of(region) is None
    with pytest.raises(ValueError, match="is no AWS region"):
        endpoint("sts", region, fips=False, dual_stack=False)


@pytest.mark.parametrize(
    ("arn", "role"),
    [
        ("arn:aws:iam::111122223333:role/x", Role("aws", "111122223333", "x")),
        ("arn:aws-cn:iam::111122223333:role/pull/team-a/web", Role("aws-cn", "111122223333", "pull/team-a/web")),
        (
            "arn:aws-us-gov:iam::111122223333:role/a_b+c=d,e.f@g-H9",
            Role("aws-us-gov", "111122223333", "a_b+c=d,e.f@g-H9"),
        ),
        ("arn:aws-eusc:iam::111122223333:role/a:b/!~{}/c", Role("aws-eusc", "111122223333", "a:b/!~{}/c")),
        (
            f"arn:aws:iam::111122223333:role/{'p' * 510}/{'n' * 64}",
            Role("aws", "111122223333", f"{'p' * 510}/{'n' * 64}"),
        ),
    ],
)
def test_a_role_arn_is_taken_apart(arn: str, role: Role) -> None:
    """Partition, account, path and name; IAM's limits are inclusive."""
    assert parse_role(arn) == role


@pytest.mark.parametrize(
    ("arn", "reason"),
    [
        ("", "not of the form"),
        ("x", "not of the form"),
        ("pull", "not of the form"),
        ("arn:aws:iam::111122223333", "not of the form"),
        ("ARN:aws:iam::111122223333:role/x", "not of the form"),
        (" arn:aws:iam::111122223333:role/x", "not of the form"),
        ("arn:gcp:iam::111122223333:role/x", "partition"),
        ("arn::iam::111122223333:role/x", "partition"),
        ("arn:aws:sts::111122223333:assumed-role/x/y", "IAM role"),
        ("arn:aws:iam::111122223333:user/x", "IAM role"),
        ("arn:aws:iam::111122223333:role", "role name"),
        ("arn:aws:iam::111122223333:instance-profile/x", "IAM role"),
        ("arn:aws:iam:us-west-2:111122223333:role/x", "IAM role"),
        ("arn:aws:iam::aws:role/x", "12 digits"),
        ("arn:aws:iam::11112222333:role/x", "12 digits"),
        ("arn:aws:iam::1111222233334:role/x", "12 digits"),
        ("arn:aws:iam::11112222333²:role/x", "12 digits"),
        ("arn:aws:iam:::role/x", "12 digits"),
        ("arn:aws:iam::111122223333:role/", "role name"),
        ("arn:aws:iam::111122223333:role/a/", "role name"),
        ("arn:aws:iam::111122223333:role/a b", "role name"),
        ("arn:aws:iam::111122223333:role/a:b", "role name"),
        ("arn:aws:iam::111122223333:role/a*", "role name"),
        ("arn:aws:iam::111122223333:role/ä", "role name"),
        ("arn:aws:iam::111122223333:role/x\n", "role name"),
        (f"arn:aws:iam::111122223333:role/{'n' * 65}", "role name"),
        ("arn:aws:iam::111122223333:role//x", "empty segment"),
        ("arn:aws:iam::111122223333:role/a//x", "empty segment"),
        ("arn:aws:iam::111122223333:role/a b/x", "printable ASCII"),
        ("arn:aws:iam::111122223333:role/a\x00/x", "printable ASCII"),
        ("arn:aws:iam::111122223333:role/a\x7f/x", "printable ASCII"),
        ("arn:aws:iam::111122223333:role/*/x", "wildcard"),
        ("arn:aws:iam::111122223333:role/a?/x", "wildcard"),
        (f"arn:aws:iam::111122223333:role/{'p' * 511}/x", "512"),
        (f"arn:aws:iam::111122223333:role/{'p' * 1_000_000}/x", "512"),
    ],
)
def test_what_is_no_role_arn(arn: str, reason: str) -> None:
    """Each refusal says why and does not quote what an annotation's author wrote."""
    with pytest.raises(ValueError, match=reason) as caught:
        parse_role(arn)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "pull@proj.iam.gserviceaccount.com",
        "pull-team-a@my-proj-1.iam.gserviceaccount.com",
        "pull@proj.example.com.iam.gserviceaccount.com",
        "pull@proj.universe.iam.gserviceaccount.com",
        "123456789-compute@developer.gserviceaccount.com",
        f"{'a' * 63}@{'b' * 63}.{'c' * 63}.{'d' * 42}.gserviceaccount.com",
    ],
)
def test_a_service_account_of_google(text: str) -> None:
    """Those of projects, of domain-scoped projects, of other universes and of Google's own making."""
    assert registry.is_service_account_email(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pull",
        "@proj.iam.gserviceaccount.com",
        "pull@gserviceaccount.com",
        "pull@.gserviceaccount.com",
        "pull@proj..gserviceaccount.com",
        "pull@proj.iam.gserviceaccount.com.evil.example",
        "pull@evilgserviceaccount.com",
        "pull@proj.iam.gserviceaccount.com/../x",
        "Pull@proj.iam.gserviceaccount.com",
        "pull@a@b.gserviceaccount.com",
        "a/b@proj.iam.gserviceaccount.com",
        "pull:signJwt?@proj.iam.gserviceaccount.com",
        "-pull@proj.iam.gserviceaccount.com",
        "pull-@proj.iam.gserviceaccount.com",
        "pull@proj.iam.gserviceaccount.com\n",
        "user@example.com",
        f"{'a' * 64}@proj.iam.gserviceaccount.com",
        f"{'a' * 63}@{'b' * 63}.{'c' * 63}.{'d' * 43}.gserviceaccount.com",
    ],
)
def test_what_is_no_service_account(text: str) -> None:
    """Nothing that could become another part of the URL it stands in."""
    assert not registry.is_service_account_email(text)
