"""The host gate, the kubelet's matcher and ARNs, against models that were written apart from them."""

from __future__ import annotations

import re

from hypothesis import assume, example, given
from hypothesis import strategies as st

from pullpass.errors import PullpassError
from pullpass.registry import ECR, Target, auth_key, clean_auth_key, host_matches, match, parse_role, partition_of
from pullpass.registry.image import split
from pullpass.registry.kubelet import star_matches

ACCOUNTS = st.from_regex(r"[0-9]{12}", fullmatch=True)
COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
# github.com/distribution/reference v0.6.0, regexp.go, without IPv6; a first part that could be a path is no host.
LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})*(?::[0-9]+)?")

segments = st.one_of(
    st.sampled_from(["v1", "v2", "a", "library", "a--b", "a__b.c"]), st.from_regex(COMPONENT, fullmatch=True)
)
repositories = st.lists(segments, min_size=1, max_size=5).map("/".join).filter(lambda text: 2 <= len(text) <= 255)
hosts = st.lists(st.sampled_from(["a", "b", "ab", "io", "x-1"]), min_size=1, max_size=4).map(".".join)
ports = st.sampled_from(["", ":80", ":5000", ":05"])

REGIONS = {
    "us-west-2": ("amazonaws.com", "on.aws"),
    "eu-south-12": ("amazonaws.com", "on.aws"),
    "us-gov-east-1": ("amazonaws.com", "on.aws"),
    "cn-north-1": ("amazonaws.com.cn", "on.amazonwebservices.com.cn"),
    "eusc-de-east-1": ("amazonaws.eu", None),
    "us-isob-west-1": ("sc2s.sgov.gov", None),
}
# Every host that may ever be taken for private ECR ends in one of these, right behind the region.
ECR_HOST = re.compile(
    r"[0-9]{12}\.(?:vpce-[a-z0-9-]+\.)?dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z-]+-[0-9]{1,2})\."
    r"(?:(?:vpce\.)?amazonaws\.(?:com|com\.cn|eu)|on\.aws|on\.amazonwebservices\.com\.cn"
    r"|(?:vpce\.)?(?:c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov))"
)


@given(ACCOUNTS, st.sampled_from(sorted(REGIONS)), st.booleans(), repositories)
def test_a_host_of_ecr_is_read_back(account: str, region: str, dual_stack: bool, repository: str) -> None:
    """What was put into a host name is what the gate finds in it."""
    plain, dual = REGIONS[region]
    assume(dual or not dual_stack)
    host = f"{account}.dkr-ecr.{region}.{dual}" if dual_stack else f"{account}.dkr.ecr.{region}.{plain}"
    target = match(f"{host}/{repository}")
    assert target == Target(
        ECR, host, repository, account, region, partition_of(region) or "none", fips=False, dual_stack=dual_stack
    )
    assert target.image == f"{host}/{repository}"


PARTS = [
    *("111122223333", "dkr", "ecr", "dkr-ecr", "ecr-fips", "dkr-ecr-fips", "vpce", "vpce-0a-b", "evil"),
    *("us-west-2", "cn-north-1", "us-gov-west-1"),
    *("amazonaws", "amazonwebservices", "com", "cn", "on", "aws", "eu", "c2s", "ic", "gov"),
]
mangled = st.lists(st.sampled_from(PARTS), min_size=4, max_size=9).map(".".join)


@given(mangled)
@example("111122223333.dkr.ecr.cn-north-1.amazonaws.com")
@example("111122223333.dkr-ecr.us-west-2.amazonaws.com.cn")
def test_nothing_but_an_ecr_host_is_taken_for_one(host: str) -> None:
    """Parts of real hosts in any order are refused unless they are a real host, suffix and region together."""
    try:
        target = match(f"{host}/app/web")
    except PullpassError as error:
        assert error.code == "registry-unknown"  # noqa: PT017 - either outcome is judged
        return
    assert target.kind == ECR
    found = ECR_HOST.fullmatch(host)
    assert found
    assert found["region"] == target.region
    assert host.endswith(".cn") == (target.partition == "aws-cn")


@given(st.text(max_size=80) | st.text(alphabet="ab.:/@-_A[]% \n*", max_size=30))
def test_any_text_is_an_image_or_a_refusal(text: str) -> None:
    """No text makes the gate raise anything else, or lets it answer for a host that it can't know."""
    try:
        match(text)
    except PullpassError as error:
        assert error.code in ("image-invalid", "registry-unknown")  # noqa: PT017 - either outcome is judged
        assert error.line().isprintable()  # noqa: PT017 - likewise
    else:
        raise AssertionError("no random text is one of our hosts")


@given(
    st.lists(st.sampled_from(["a", "B", "1", ".", "-", "io", "localhost", "é"]), max_size=6).map("".join),
    st.sampled_from(["", ":80", ":", ":x", ":70000"]),
    st.lists(st.sampled_from(["a", "1", "_", "__", "-", ".", "/", "A", "..", ":"]), max_size=8).map("".join),
)
def test_images_have_the_form_of_the_reference_library(host: str, port: str, repository: str) -> None:
    """The reader agrees with the library's own expressions on what is host and what is repository."""
    in_library = bool(
        DOMAIN.fullmatch(host + port)
        and ("." in host or port or host == "localhost" or host != host.lower())
        and port != ":70000"
        and all(COMPONENT.fullmatch(part) for part in repository.split("/"))
    )
    try:
        parts = split(f"{host}{port}/{repository}")
    except ValueError:
        assert not in_library
    else:
        # A trailing dot passes here, so that it is refused as a host, with a hint.
        assert in_library or host.endswith(".")
        assert parts == (host + port, repository)


labels = st.lists(st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "a*b", "**", "x-1"]), min_size=1, max_size=4)


def model_matches(pattern: tuple[list[str], str, str], image: tuple[list[str], str, str]) -> bool:
    """The four rules of the kubelet's documentation, on parts instead of text."""
    if pattern[1] != image[1] or len(pattern[0]) != len(image[0]) or image[2][: len(pattern[2])] != pattern[2]:
        return False
    expressions = ["".join(".*" if char == "*" else re.escape(char) for char in label) for label in pattern[0]]
    return all(re.fullmatch(rule, label) for rule, label in zip(expressions, image[0], strict=True))


@given(labels, ports, st.sampled_from(["", "/", "/a", "/a/b", "/*"]), st.data())
def test_the_matcher_agrees_with_the_model(pattern: list[str], port: str, path: str, data: st.DataObject) -> None:
    """Patterns against images that are near them: a star filled in, a path gone on, a port changed."""
    fill = st.sampled_from(["", "a", "b", "zz", "x-1"])
    near = [label.replace("*", data.draw(fill)) or "a" for label in pattern]
    host = data.draw(st.sampled_from([near, near[1:] or near, [*near, "a"]]) | hosts.map(lambda text: text.split(".")))
    image = (host, data.draw(st.sampled_from([port]) | ports), path + data.draw(st.sampled_from(["", "/a", "b"])))
    image = (image[0], image[1], image[2] if image[2].startswith("/") else "/" + image[2])
    text = f"{'.'.join(image[0])}{image[1]}{image[2]}"
    assert host_matches(f"{'.'.join(pattern)}{port}{path}", text) == model_matches(
        (pattern, port, path), (image[0], image[1], image[2])
    )


@given(st.text(alphabet="ab*", max_size=12), st.text(alphabet="ab", max_size=12))
def test_the_wildcard_agrees_with_the_model(pattern: str, text: str) -> None:
    """Greedy search finds a match exactly where trying everything does."""
    expression = "".join(".*" if char == "*" else char for char in pattern)
    assert star_matches(pattern, text) == bool(re.fullmatch(expression, text))


@given(st.text(max_size=40) | st.text(alphabet="ab.:/@%4[]#?* \n", max_size=20))
def test_the_matcher_raises_nothing_but_value_errors(text: str) -> None:
    """Any text is a pattern or a ValueError; cleaning leaves alone what has nothing to clean."""
    for pattern, image in ((text, "r.io/a"), ("r.io/a", text)):
        try:
            host_matches(pattern, image)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - either outcome is judged
    try:
        clean = clean_auth_key(text)
    except ValueError:
        return
    if not set("%#?@") & set(text) and not text.startswith("http") and "/v" not in text and not text.endswith("/"):
        assert clean == text


@given(hosts, ports, repositories)
def test_an_auth_key_matches_its_image_and_no_other_host(host: str, port: str, repository: str) -> None:
    """Cleaned and matched as by the kubelet, the key finds its image; another host or port is not found."""
    target = Target(ECR, host + port, repository, "111122223333", "us-west-2", "aws")
    key = clean_auth_key(auth_key(target))
    assert host_matches(key, target.image)
    assert not host_matches(key, f"x.{target.image}")
    assert not host_matches(key, f"{host}{port or ':'}1/{repository}")
    if repository.partition("/")[0] not in ("v1", "v2"):
        assert key == target.image
        assert not host_matches(key, target.image[:-1])


@given(
    st.sampled_from(["aws", "aws-cn", "aws-us-gov", "aws-iso-b", "aws-eusc"]),
    ACCOUNTS,
    st.lists(
        st.text(alphabet=[chr(code) for code in range(0x21, 0x7F) if chr(code) not in "*?/"], min_size=1), max_size=3
    ),
    st.from_regex(r"[A-Za-z0-9_+=,.@-]{1,64}", fullmatch=True),
)
def test_a_role_arn_is_read_back(partition: str, account: str, path: list[str], name: str) -> None:
    """An ARN put together by IAM's rules comes apart the same way."""
    rest = "/".join([*path, name])
    assume(len(rest) < 500)
    role = parse_role(f"arn:{partition}:iam::{account}:role/{rest}")
    assert role == (partition, account, rest)


@given(st.text(max_size=60) | st.text(alphabet="arn:ws:iam:0123456789role/x*", max_size=60))
def test_any_text_is_a_role_or_a_value_error(text: str) -> None:
    """An annotation can be anything; what is taken for a role is one, character by character."""
    try:
        role = parse_role(text)
    except ValueError:
        return
    assert text == f"arn:{role.partition}:iam::{role.account}:role/{role.path_and_name}"
    assert re.fullmatch(r"[!-~]+", text)
