"""The host gate: which images are ours, whose they are, and what is said about the others."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pullpass import registry
from pullpass.errors import BAD_INPUT, REFUSED, PullpassError
from pullpass.registry import ECR, ECR_PUBLIC, GCR, Target, match

ACCOUNT = "111122223333"
HOST = f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com"
VPCE = "vpce-0123456789abcdef0-abcdefgh.dkr.ecr.us-west-2.vpce.amazonaws.com"


class Alias(NamedTuple):
    """A configured name in front of ECR."""

    host: str
    account: str
    region: str


ALIASES = (
    Alias("images.example.com", "444455556666", "cn-north-1"),
    Alias("images.example.com:8443", "777788889999", "us-gov-west-1"),
    Alias("xn--bcher-kva.example", ACCOUNT, "us-west-2"),
    Alias(VPCE, ACCOUNT, "us-west-2"),
    Alias(HOST, "999999999999", "eu-west-1"),
)


def refusal(image: str) -> PullpassError:
    """The error with which an image is refused."""
    with pytest.raises(PullpassError) as caught:
        match(image, ALIASES, ("registry.google.example",))
    return caught.value


@pytest.mark.parametrize(
    ("host", "region", "partition", "fips", "dual_stack"),
    [
        (HOST, "us-west-2", "aws", False, False),
        (f"{ACCOUNT}.dkr.ecr.mx-central-1.amazonaws.com", "mx-central-1", "aws", False, False),
        (f"{ACCOUNT}.dkr.ecr.ap-moon-12.amazonaws.com", "ap-moon-12", "aws", False, False),
        (f"{ACCOUNT}.dkr.ecr-fips.us-east-1.amazonaws.com", "us-east-1", "aws", True, False),
        (f"{ACCOUNT}.dkr-ecr.eu-central-1.on.aws", "eu-central-1", "aws", False, True),
        (f"{ACCOUNT}.dkr-ecr-fips.us-east-2.on.aws", "us-east-2", "aws", True, True),
        (f"{ACCOUNT}.dkr.ecr.us-gov-west-1.amazonaws.com", "us-gov-west-1", "aws-us-gov", False, False),
        (f"{ACCOUNT}.dkr.ecr-fips.us-gov-east-1.amazonaws.com", "us-gov-east-1", "aws-us-gov", True, False),
        (f"{ACCOUNT}.dkr-ecr.us-gov-west-1.on.aws", "us-gov-west-1", "aws-us-gov", False, True),
        (f"{ACCOUNT}.dkr-ecr-fips.us-gov-west-1.on.aws", "us-gov-west-1", "aws-us-gov", True, True),
        (f"{ACCOUNT}.dkr.ecr.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1", "aws-cn", False, False),
        (f"{ACCOUNT}.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1", "aws-cn", False, True),
        (f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", "aws-eusc", False, False),
        (f"{ACCOUNT}.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", "aws-iso", False, False),
        (f"{ACCOUNT}.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", "aws-iso-b", False, False),
        (f"{ACCOUNT}.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", "aws-iso-e", False, False),
        (f"{ACCOUNT}.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", "aws-iso-f", False, False),
        (f"{ACCOUNT}.{VPCE}", "us-west-2", "aws", False, False),
        (
            f"{ACCOUNT}.vpce-0a-b1-us-gov-west-1a.dkr.ecr.us-gov-west-1.vpce.amazonaws.com",
            "us-gov-west-1",
            "aws-us-gov",
            False,
            False,
        ),
        (f"{ACCOUNT}.vpce-0a-b1.dkr.ecr.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1", "aws-cn", False, False),
    ],
)
def test_every_form_of_an_ecr_host_is_known(
    host: str, region: str, partition: str, fips: bool, dual_stack: bool
) -> None:
    """Account, region, partition and the variants of the API endpoints are read from the host."""
    assert match(f"{host}/team-a/app") == Target(
        ECR, host, "team-a/app", ACCOUNT, region, partition, fips=fips, dual_stack=dual_stack
    )


@pytest.mark.parametrize(("host", "dual_stack"), [("public.ecr.aws", False), ("ecr-public.aws.com", True)])
def test_ecr_public_has_two_hosts(host: str, dual_stack: bool) -> None:
    """Both belong to no account, and their password comes from us-east-1."""
    expected = Target(ECR_PUBLIC, host, "nginx/nginx", "", "us-east-1", "aws", fips=False, dual_stack=dual_stack)
    assert match(f"{host}/nginx/nginx") == expected


@pytest.mark.parametrize(
    "host",
    [
        "gcr.io",
        "us.gcr.io",
        "eu.gcr.io",
        "asia.gcr.io",
        "marketplace.gcr.io",
        "us-docker.pkg.dev",
        "europe-west4-docker.pkg.dev",
        "docker.us-central1.rep.pkg.dev",
    ],
)
def test_googles_hosts_are_known(host: str) -> None:
    """The closed list of Google's forms; domain-scoped projects are two segments."""
    assert match(f"{host}/example.com/proj/app") == Target(GCR, host, "example.com/proj/app")


@pytest.mark.parametrize(
    "host",
    [
        "docker.pkg.dev",
        "us-python.pkg.dev",
        "a.us-docker.pkg.dev",
        "a.b.gcr.io",
        "docker.rep.pkg.dev",
        "docker.a.b.rep.pkg.dev",
        "us.docker.rep.pkg.dev",
        # A name that only ends like Google's, with enough before it for a label to be left of it.
        "evilgcr.io",
        "evildocker.pkg.dev",
        "docker.us-evilrep.pkg.dev",
        "gcr.io.evil.example",
        "us-docker.pkg.dev.evil.example",
        f"{'a' * 64}.gcr.io",
    ],
)
def test_hosts_that_resemble_googles_are_not_ours(host: str) -> None:
    """Another format, another depth or a look-alike gets nothing."""
    assert refusal(f"{host}/proj/app").code == "registry-unknown"


def test_a_configured_host_of_google_is_exact() -> None:
    """Other universes have hosts of their own; a configured one counts with its port and nothing below it."""
    hosts = ("docker.example.org", "docker.example.org:8443")
    assert match("docker.example.org/p/r/app", (), hosts) == Target(GCR, "docker.example.org", "p/r/app")
    assert match("docker.example.org:8443/p/r/app", (), iter(hosts)).host == "docker.example.org:8443"
    with pytest.raises(PullpassError, match="registry-unknown"):
        match("a.docker.example.org/p/r/app", (), hosts)


def test_an_alias_names_account_and_region() -> None:
    """The first alias with exactly this host, port included, says whose registry it is."""
    assert match("images.example.com/app", ALIASES) == Target(
        ECR, "images.example.com", "app", "444455556666", "cn-north-1", "aws-cn"
    )
    assert match("images.example.com:8443/app", ALIASES).account == "777788889999"
    assert match("images.example.com:8443/app", iter(ALIASES)).partition == "aws-us-gov"
    assert match("xn--bcher-kva.example/app", ALIASES).region == "us-west-2"
    assert match(f"{VPCE}/app", ALIASES).account == ACCOUNT


def test_an_alias_can_not_contradict_a_host_that_speaks_for_itself() -> None:
    """A line in a file must not send one account's password to another account's registry."""
    assert match(f"{HOST}/team-a/app", ALIASES).account == ACCOUNT


def test_an_alias_in_no_region_is_a_defect() -> None:
    """The loader refuses it; should it get here, no endpoint is made up for it."""
    with pytest.raises(ValueError, match="'nowhere' is no AWS region"):
        match("a.example/app", (Alias("a.example", ACCOUNT, "nowhere"),))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("", "empty"),
        ("busybox", "no repository"),
        (HOST, "no repository"),
        ("library/busybox", "no registry host"),
        ("/app", "no registry host"),
        (f"{HOST}/", "empty segment"),
        (f"{HOST}//app", "empty segment"),
        (f"{HOST}/team-a/", "empty segment"),
        (f"{HOST}/team-a/app:1.0", "tag"),
        (f"{HOST}/team-a:1/app", "tag"),
        (f"{HOST}/team-a/app@sha256:{'0' * 64}", "digest"),
        (f"https://{HOST}/app", "scheme"),
        (f"user@{HOST}/app", "user information"),
        (f"user:pw@{HOST}/app", "user information"),
        (f"https://user:pw@{HOST}/app", "scheme"),
        ("[::1]/app", "IPv6"),
        ("[::1]:5000/app", "IPv6"),
        (f"{HOST}/../app", "climbs"),
        (f"{HOST}/team-a/./app", "climbs"),
        (f"{HOST}/a/%2e%2e/app", "lower-case"),
        (f"{HOST}/Team-A/app", "lower-case"),
        (f"{HOST}/-app", "lower-case"),
        (f"{HOST}/app-", "lower-case"),
        (f"{HOST}/a..b", "lower-case"),
        (f"{HOST}/a___b", "lower-case"),
        (f"{HOST}/a._b", "lower-case"),
        (f"{HOST}/a+b", "lower-case"),
        (f" {HOST}/app", "blanks"),
        (f"{HOST}/app ", "blanks"),
        (f"{HOST}/a\nb", "control characters"),
        (f"{HOST}/a\x00b", "control characters"),
        (f"{HOST}/äpp", "outside ASCII"),
        (f"{HOST}:/app", "port"),
        (f"{HOST}:https/app", "port"),
        (f"{HOST}:0/app", "port"),
        (f"{HOST}:65536/app", "port"),
        (f"{HOST}:1:2/app", "port"),
        (f"{HOST}:000443/app", "port"),
        ("-a.example/app", "host name"),
        ("a-.example/app", "host name"),
        ("a..example/app", "host name"),
        (".example/app", "host name"),
        ("a_b.example/app", "host name"),
        (f"{'a.' * 127}/app", "253 characters"),
        (f"{HOST}/{'a' * 256}", "255 characters"),
        (f"{HOST}/a", "one character"),
    ],
)
def test_what_the_kubelet_can_not_have_sent_is_invalid(image: str, reason: str) -> None:
    """A malformed image is bad input, says what is wrong, and stays one line."""
    error = refusal(image)
    assert (error.code, error.status) == ("image-invalid", BAD_INPUT)
    assert reason in error.what
    assert error.line().isprintable()
    assert "pw" not in error.line()


@pytest.mark.parametrize(
    "repository", ["aa", "a/b", "a-b", "a--b", "a_b", "a__b", "a.b", "0", "v2", "a/b-c.d_e__f---g/h", "a" * 255]
)
def test_repository_names_follow_the_distribution_grammar(repository: str) -> None:
    """What the reference library accepts passes, up to its 255 characters."""
    assert match(f"gcr.io/{repository}").image == f"gcr.io/{repository}"
    assert (len(repository) < 2) or match(f"{HOST}/{repository}").image == f"{HOST}/{repository}"


LOOK_ALIKE = "do not trust it"
DEFAULT = "take this host out of matchImages"


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        (f"{HOST}:443", "port"),
        (f"{HOST}.", "trailing dot"),
        (HOST.upper(), "lower case"),
        (HOST.replace("dkr", "DKR"), "lower case"),
        (HOST.replace("us-west-2", "US-WEST-2"), "lower case"),
        ("MYREGISTRY", "lower case"),
        ("xn--amazon-x.example", "internationalised"),
        (f"{HOST}.evil.example", LOOK_ALIKE),
        (f"{ACCOUNT}.dkr-ecr.us-west-2.on.aws.evil.example", LOOK_ALIKE),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.evilamazonaws.com", "is ACCOUNT.dkr.ecr.us-west-2.amazonaws.com or"),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com-evil.example", "is ACCOUNT.dkr.ecr.us-west-2.amazonaws.com or"),
        (f"x.{HOST}", DEFAULT),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com", "ACCOUNT.dkr.ecr.cn-north-1.amazonaws.com.cn or"),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com.cn", "ACCOUNT.dkr.ecr.us-west-2.amazonaws.com or"),
        (f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.com", "is ACCOUNT.dkr.ecr.eusc-de-east-1.amazonaws.eu"),
        (f"{ACCOUNT}.dkr-ecr.eusc-de-east-1.on.amazonwebservices.eu", "ACCOUNT.dkr.ecr.eusc-de-east-1.amazonaws.eu"),
        (f"{ACCOUNT}.dkr-ecr.us-west-2.amazonaws.com", "or ACCOUNT.dkr-ecr.us-west-2.on.aws"),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.on.aws", "or ACCOUNT.dkr-ecr.us-west-2.on.aws"),
        (f"{ACCOUNT}.dkr-ecr.cn-north-1.on.aws", "or ACCOUNT.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn"),
        (f"{ACCOUNT}.dkr.ecr-fips.eu-west-1.amazonaws.com", "FIPS registry hosts exist in us-east-1,"),
        (f"{ACCOUNT}.dkr-ecr-fips.cn-north-1.on.amazonwebservices.com.cn", "us-gov-west-1 only"),
        (f"{ACCOUNT}.dkr.ecr.xx-moon-1.amazonaws.com", "'xx-moon-1' is no AWS region"),
        (f"{ACCOUNT}.dkr.ecr.aws-global.amazonaws.com.cn", "'aws-global' is no AWS region"),
        (f"{ACCOUNT}.dkr.ecr.us-west-02.amazonaws.com", "'us-west-02' is no AWS region"),
        (f"{ACCOUNT}.dkr.ecr.us-west-2a.amazonaws.com", "'us-west-2a' is no AWS region"),
        (f"{ACCOUNT}.dkr.ecr.us-west1-2.amazonaws.com", "'us-west1-2' is no AWS region"),
        (f"{ACCOUNT}.dkr.ecr.amazonaws.com", "'amazonaws' is no AWS region"),
        ("11112222333.dkr.ecr.us-west-2.amazonaws.com", "12 digits"),
        ("11112222333a.dkr.ecr.us-west-2.amazonaws.com", "12 digits"),
        (VPCE.replace("us-west-2", "us-east-1"), "[[ecr.alias]], or put ACCOUNT. before it"),
        (f"{ACCOUNT}.vpce-0a-b1.dkr.ecr.us-west-2.amazonaws.com", "in us-west-2 a host of ECR is"),
        (f"{ACCOUNT}.vpce-xyz-b1.dkr.ecr.us-west-2.vpce.amazonaws.com", "in us-west-2 a host of ECR is"),
        (f"{ACCOUNT}.vpce--b1.dkr.ecr.us-west-2.vpce.amazonaws.com", "in us-west-2 a host of ECR is"),
        (f"{ACCOUNT}.vpce-0a-.dkr.ecr.us-west-2.vpce.amazonaws.com", None),
        (f"{ACCOUNT}.vpce-0a.dkr.ecr.us-west-2.vpce.amazonaws.com", "in us-west-2 a host of ECR is"),
        (f"{ACCOUNT}.vpce-0a-b1.dkr.ecr-fips.us-west-2.vpce.amazonaws.com", "in us-west-2 a host of ECR is"),
        (f"{ACCOUNT}.vpce-0a-b1.dkr-ecr.us-west-2.vpce.on.aws", "in us-west-2 a host of ECR is"),
        (f"{ACCOUNT}.vpce-0a-b1.vpce-svc-0c.us-west-2.vpce.amazonaws.com", DEFAULT),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.vpce.amazonaws.com", "in us-west-2 a host of ECR is"),
        (f"{ACCOUNT}.s3.us-west-2.amazonaws.com", DEFAULT),
        ("docker.io", DEFAULT),
        ("localhost", DEFAULT),
        ("127.0.0.1", DEFAULT),
        ("public.ecr.aws.example", DEFAULT),
        ("a.public.ecr.aws", DEFAULT),
        ("IMAGES.example.com", "lower case"),
        ("images.example.com:9443", "port"),
        ("a.images.example.com", DEFAULT),
    ],
)
def test_a_well_formed_host_that_is_not_ours_is_refused(host: str, hint: str | None) -> None:
    """No host is taken for ours by resemblance, and the hint says what is wrong with it where that can be told."""
    error = refusal(f"{host}/library/app")
    if hint is None:
        assert error.code == "image-invalid"
        return
    assert (error.code, error.status) == ("registry-unknown", REFUSED)
    assert hint in error.hint
    assert repr(host) in error.what


def test_a_hostile_image_makes_one_short_line() -> None:
    """Outside text in an error is escaped and cut."""
    line = refusal("x" * 100_000 + "\n" * 1000).line()
    assert line.isprintable()
    assert len(line) < 1000


@pytest.mark.parametrize(
    "host", ["a.example", "a.example:5000", "localhost", "x:1", "10.0.0.1", "xn--bcher-kva.example"]
)
def test_a_host_fit_for_the_configuration(host: str) -> None:
    """Names with dots, with ports, and localhost."""
    registry.check_host(host)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("A.example", "upper case"),
        ("a.example.", "dot"),
        ("a.example.:80", "dot"),
        ("name", "no registry host"),
        ("", "no registry host"),
        ("a.example/b", "host name"),
        ("*.example", "host name"),
        ("ä.example", "host name"),
        ("a.example:", "port"),
        ("a@b.example", "user information"),
    ],
)
def test_a_host_unfit_for_the_configuration(host: str, reason: str) -> None:
    """What no request could name, or what is not compared the way it looks."""
    with pytest.raises(ValueError, match=reason):
        registry.check_host(host)
