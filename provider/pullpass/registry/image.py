"""The form of an image name as the kubelet sends it: `HOST/REPOSITORY`.

The kubelet parses the container's image with the distribution reference library and sends its normalised name without
tag and digest. Two forms that the library takes are refused: IPv6 hosts, which no registry of ours has, and a trailing
dot is let through to be refused as a host with a hint.

Source: github.com/distribution/reference v0.6.0, `regexp.go` (grammar) and `reference.go` (255 characters).
"""

from __future__ import annotations

REPOSITORY_MAX_CHARS = 255
HOST_MAX_CHARS = 253  # RFC 1035, 2.3.4, as text

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_HOST_LABEL = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ-")
_DIGITS = frozenset("0123456789")


def split(name: str) -> tuple[str, str]:
    """Host (with its port, if any) and repository of a well-formed image name.

    Raises:
        ValueError: says what is wrong, without quoting the name.
    """
    if not name:
        raise ValueError("it is empty")
    if not name.isascii() or not name.isprintable() or " " in name:
        raise ValueError("it has blanks, control characters or letters outside ASCII")
    if "://" in name:
        raise ValueError("it has a scheme")
    host, slash, repository = name.partition("/")
    if not slash:
        raise ValueError("it has no repository after a host")
    if "@" in repository:
        raise ValueError("it has a digest or user information, and the kubelet sends neither")
    _check_host(host)
    if ":" in repository:
        raise ValueError("it has a tag, and the kubelet sends none")
    _check_repository(repository)
    return host, repository


def check_host(host: str) -> None:
    """Check a configured host name: as in `split`, and without upper case and trailing dot.

    Raises:
        ValueError: says what is wrong.
    """
    _check_host(host)
    if host != host.lower():
        raise ValueError("it has upper case, and hosts are compared as they are written")
    if host.partition(":")[0].endswith("."):
        raise ValueError("it ends in a dot")


def _check_host(host: str) -> None:
    if "@" in host:
        raise ValueError("it has user information before the host")
    if "[" in host:
        raise ValueError("its host is an IPv6 address")
    name, colon, port = host.partition(":")
    if colon and not (_DIGITS.issuperset(port) and 0 < len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError("its port is not a number from 1 to 65535")
    if "." not in name and not colon and name != "localhost" and name == name.lower():
        # The library would take the first part as a path of Docker Hub; the kubelet writes that host out.
        raise ValueError("it has no registry host")
    if len(name) > HOST_MAX_CHARS:
        raise ValueError(f"its host has more than {HOST_MAX_CHARS} characters")
    for label in name.removesuffix(".").split("."):
        if not label or not _HOST_LABEL.issuperset(label) or label[0] == "-" or label[-1] == "-":
            raise ValueError("its host is not a host name")


def _check_repository(repository: str) -> None:
    if len(repository) > REPOSITORY_MAX_CHARS:
        raise ValueError(f"its repository has more than {REPOSITORY_MAX_CHARS} characters")
    for segment in repository.split("/"):
        if not segment:
            raise ValueError("its repository has an empty segment")
        if segment in (".", ".."):
            raise ValueError("its repository climbs the path")
        if not _is_path_component(segment):
            raise ValueError(
                "its repository has a segment that is not lower-case letters and digits, joined by one of . _ __ -"
            )


def _is_path_component(segment: str) -> bool:
    """Whether a segment (not empty) is the library's `pathComponent`: [a-z0-9] with `.`, `_`, `__` or `-`s between."""
    if segment[0] not in _LOWER or segment[-1] not in _LOWER:
        return False
    separator = ""
    for char in segment:
        if char in _LOWER:
            if separator not in ("", ".", "_", "__") and separator.strip("-"):
                return False
            separator = ""
        elif char in "._-":
            separator += char
        else:
            return False
    return True
