"""Which variables name a node's container credentials, and where they may lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pullpass.errors import BAD_INPUT, PullpassError
from pullpass.exchange import aws_node

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = "http://127.0.0.1:5000/v1/credentials"


def refused(environment: dict[str, str]) -> PullpassError:
    """The refusal of an environment."""
    with pytest.raises(PullpassError) as caught:
        aws_node.container(environment)
    assert (caught.value.code, caught.value.status) == ("aws-container-credentials", BAD_INPUT)
    return caught.value


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, ""),
        ({aws_node.RELATIVE_URI: "", aws_node.FULL_URI: ""}, ""),
        ({aws_node.RELATIVE_URI: "/v2/credentials/1"}, "http://169.254.170.2/v2/credentials/1"),
        ({aws_node.FULL_URI: "http://169.254.170.23/v1/credentials"}, "http://169.254.170.23/v1/credentials"),
        ({aws_node.FULL_URI: "http://[fd00:ec2::23]/v1/credentials"}, "http://[fd00:ec2::23]/v1/credentials"),
        ({aws_node.FULL_URI: LOCAL}, LOCAL),
        ({aws_node.FULL_URI: "http://[::1]:5000/x?y=z"}, "http://[::1]:5000/x?y=z"),
        ({aws_node.RELATIVE_URI: "/a", aws_node.FULL_URI: LOCAL}, "http://169.254.170.2/a"),
    ],
)
def test_url(environment: dict[str, str], url: str) -> None:
    """A relative URI goes before a full one, as in the SDK; an empty variable is none."""
    assert aws_node.container(environment) == (url, None)


@pytest.mark.parametrize(
    "environment",
    [
        {aws_node.FULL_URI: "https://127.0.0.1/x"},
        {aws_node.FULL_URI: "https://credentials.example.com/x"},
        {aws_node.FULL_URI: "http://credentials.example.com/x"},
        {aws_node.FULL_URI: "http://localhost:5000/x"},
        {aws_node.FULL_URI: "http://10.0.0.1/x"},
        {aws_node.FULL_URI: "http://127.0.0.1@10.0.0.1/x"},
        {aws_node.FULL_URI: "http://user@127.0.0.1/x"},
        {aws_node.FULL_URI: "http://127.0.0.1:0/x"},
        {aws_node.FULL_URI: "http://127.0.0.1:99999/x"},
        {aws_node.FULL_URI: "http://127.0.0.1/x\r\nX-Second: line"},
        {aws_node.FULL_URI: "http://127.0.0.1/two words"},
        {aws_node.FULL_URI: "http://[broken"},
        {aws_node.FULL_URI: "file:///etc/shadow"},
        {aws_node.FULL_URI: "/relative"},
        {aws_node.RELATIVE_URI: "@10.0.0.1/x"},
        {aws_node.RELATIVE_URI: ".example.com/x"},
        {aws_node.RELATIVE_URI: "0/x"},
    ],
    ids=repr,
)
def test_url_that_leads_away(environment: dict[str, str]) -> None:
    """Nobody but loopback and the node's own link is asked, and not by a name, which somebody else may answer for."""
    assert next(iter(environment)) in refused(environment).what


def test_authorization(tmp_path: Path) -> None:
    """The file goes before the variable, as in the SDK, and is read anew each time; its last line feed is not sent."""
    path = tmp_path / "token"
    path.write_text("first\n")
    environment = {aws_node.FULL_URI: LOCAL, aws_node.TOKEN: "Bearer variable", aws_node.TOKEN_FILE: str(path)}
    for content in ("first", "second"):
        path.write_text(f"{content}\n")
        _, authorization = aws_node.container(environment)
        assert authorization is not None
        assert authorization.reveal() == content
    del environment[aws_node.TOKEN_FILE]
    _, authorization = aws_node.container(environment)
    assert authorization is not None
    assert authorization.reveal() == "Bearer variable"


def test_authorization_without_a_url(tmp_path: Path) -> None:
    """Without an endpoint nobody is shown the authorization, and its file is not opened."""
    assert aws_node.container({aws_node.TOKEN_FILE: str(tmp_path), aws_node.TOKEN: "x"}) == ("", None)


@pytest.mark.parametrize("content", [b"two\nlines", b"nul\0", b"\xff", "t\u00f6k\u00e9n".encode(), b"x" * 20_000])
def test_authorization_that_can_not_be_sent(tmp_path: Path, content: bytes) -> None:
    """What would write into the headers, or is no token at all, is not sent, and not shown."""
    path = tmp_path / "token"
    path.write_bytes(content)
    error = refused({aws_node.FULL_URI: LOCAL, aws_node.TOKEN_FILE: str(path)})
    assert aws_node.TOKEN_FILE in error.what
    assert "two" not in error.line()


def test_authorization_in_a_variable_that_can_not_be_sent() -> None:
    """The same of the variable."""
    error = refused({aws_node.FULL_URI: LOCAL, aws_node.TOKEN: "secret\r\nX-Second: line"})
    assert "secret" not in error.line()


@pytest.mark.parametrize("name", ["absent", "."])
def test_authorization_file_that_is_none(tmp_path: Path, name: str) -> None:
    """A file that is not there, or none, is told by its path."""
    path = str(tmp_path / name)
    assert path in refused({aws_node.FULL_URI: LOCAL, aws_node.TOKEN_FILE: path}).what
