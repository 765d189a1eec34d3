"""Where the configuration lets requests be sent."""

from __future__ import annotations

import pytest

from configurations import LEAST, accept, finding


@pytest.mark.parametrize(
    "url",
    [
        "https://a",
        "https://a.example:443",
        "https://a.example/",
        "https://a.example/b/c~d",
        "https://10.0.0.1:8443",
        "https://[2001:db8::1]:8443",
        "http://localhost",
        "http://127.0.0.1",
        "http://127.255.255.254:1",
        "http://[::1]:65535/x",
    ],
)
def test_urls_that_a_token_may_be_sent_to(url: str) -> None:
    """Https anywhere, http on loopback."""
    loaded = accept(LEAST, ("ecr.sts_endpoint", url))
    assert loaded.ecr is not None
    assert loaded.ecr.sts_endpoint == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://",
        "https:///a",
        "HTTPS://a.example",
        "https://A.example",
        "http://a.example",
        "http://128.0.0.1",
        "http://127.1",
        "http://0177.0.0.1",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://[::2]",
        "http://[::ffff:10.0.0.1]",
        "https://[::1",
        "https://[:::1]",
        "https://a.example:0",
        "https://a.example:65536",
        "https://a.example:",
        "https://a.example?x=1",
        "https://a.example#x",
        "https://a.example/b?",
        "https://a.example\\b",
        "https://a.example/b\\c",
        "https://a.example/b c",
        "https://a.example/b\n",
        "https://a.example//b",
        "https://-a.example",
        "https://a.example.",
        "https://" + "a" * 64,
        "https://\u0430.example",
        "file:///etc/passwd",
        "//a.example",
        "a.example",
    ],
)
def test_urls_that_no_token_is_sent_to(url: str) -> None:
    """Plain http elsewhere, look-alikes of loopback, and whatever two parsers could read in two ways."""
    assert finding(LEAST, ("ecr.sts_endpoint", url)).startswith("ecr.sts_endpoint is ")


def test_a_password_in_a_url_is_not_shown() -> None:
    """User information is refused, and stays out of the error."""
    said = finding(LEAST, ("ecr.sts_endpoint", "https://user:hunter2@a.example"))
    assert said.startswith("ecr.sts_endpoint has user information (not shown), expected a base URL such as https://")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254",
        "http://169.254.169.254/",
        "http://169.254.170.2:8080",
        "http://[fe80::1]",
        "http://[fd00:ec2::254]",
        "http://[fd20:ce::254]:80",
        "http://127.0.0.1:8081",
        "http://[::1]",
    ],
)
def test_urls_of_metadata_services(url: str) -> None:
    """Plain http is all they speak, so the address must be of this machine or of its own link."""
    loaded = accept(LEAST, ("node.aws_metadata", url), ("node.google_metadata", url))
    assert (loaded.node.aws_metadata, loaded.node.google_metadata) == (url, url)


@pytest.mark.parametrize("key", ["aws_metadata", "google_metadata"])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "169.254.169.254",
        "https://169.254.169.254",
        "http://metadata.google.internal",
        "http://localhost",
        "http://169.253.169.254",
        "http://169.254.169.254.example",
        "http://169.254.43518",
        "http://10.0.0.1",
        "http://[fd00:ec2::255]",
        "http://[2001:db8::1]",
        "http://[::ffff:10.0.0.1]",
        "http://169.254.169.254:0",
        "http://169.254.169.254:65536",
        "http://a@169.254.169.254",
        "http://169.254.169.254?x",
        "http://169.254.169.254\n",
    ],
)
def test_urls_of_no_metadata_service(key: str, url: str) -> None:
    """A name, which somebody else could answer for, an address anywhere, TLS, and what two parsers read in two ways."""
    said = finding(LEAST, (f"node.{key}", url))
    assert said.startswith(f"node.{key} is ")
    assert said.endswith("http, and a link-local or loopback address")
