"""The kubelet's own pattern matcher, for `matchImages` and for the keys of `auth`.

Written after kubernetes/kubernetes v1.36.3, `pkg/credentialprovider/keyring.go` (`URLsMatchStr`, `SplitURL`,
`BasicDockerKeyring.Add`) and, because that parses with it, Go 1.26 `net/url`. Text is handled as UTF-8 bytes held in a
`str` of Latin-1, as Go handles bytes.
"""

from __future__ import annotations

_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")
_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_HOST = _ALNUM | frozenset("-_.~!$&'()*+,;=:[]<>\"")
_USERINFO = _ALNUM | frozenset("-._:~!$&'()*+,;=%@")


def host_matches(pattern: str, image: str) -> bool:
    """Whether a `matchImages` pattern, or a cleaned `auth` key, matches an image.

    Ports are equal as text, hosts have equally many labels, `*` stands for any run of characters inside a label, and
    the pattern's path is a raw prefix of the image's path.

    Args:
        pattern: what stands in the configuration of the kubelet.
        image: host and repository.

    Raises:
        ValueError: one of them can't be parsed; as a pattern the kubelet refuses it at start.
    """
    labels, port, path = _parse(pattern)
    image_labels, image_port, image_path = _parse(image)
    return (
        port == image_port
        and len(labels) == len(image_labels)
        and image_path.startswith(path)
        # Only a port makes Go take the brackets of an IPv6 address off. With them its matcher takes the label for a
        # class of characters, which no host of an image fits.
        and not labels[0].startswith("[")
        and all(star_matches(label, other) for label, other in zip(labels, image_labels, strict=True))
    )


def clean_auth_key(key: str) -> str:
    """An `auth` key as the kubelet keeps it, to be compared by `host_matches`.

    A lower-case scheme, user information, query and fragment are dropped, and so are a first path segment `v1` or `v2`
    that something follows and a path that is only `/`.

    Raises:
        ValueError: the kubelet can't parse the key, and skips it.
    """
    for scheme in ("https://", "http://"):
        if key.startswith(scheme):
            key = key[len(scheme) :]
            break
    host, path = _split_url(key)
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    if path == "/":
        path = ""
    return (host + path).encode("latin-1").decode("utf-8", "surrogateescape")


def star_matches(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern` with each `*` standing for any run of characters, none included.

    The pieces between stars are looked for from left to right and never given up again: the first place of a piece
    leaves the most room for the rest, so there is nothing to try twice, whatever the pattern.
    """
    first, *middle = pattern.split("*")
    if not middle:
        return pattern == text
    last = middle.pop()
    if len(first) + len(last) > len(text) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _parse(text: str) -> tuple[list[str], str, str]:
    """Labels of the host, port, path."""
    host, path = _split_url(text)
    if host.startswith("["):
        name, bracket, port = host.partition("]:")
        return (name[1:] if bracket else host).split("."), port, path
    if "]" in host:  # Go's SplitHostPort fails, and the kubelet takes the whole for the host
        return host.split("."), "", path
    name, _, port = host.partition(":")
    return name.split("."), port, path


def _split_url(text: str) -> tuple[str, str]:
    """Host (with port) and path of `https://` + text, both unescaped, as Go's `url.Parse` has them."""
    text = text.encode("utf-8", "surrogateescape").decode("latin-1")
    text, _, fragment = text.partition("#")
    _unescape(fragment)
    if any(char < " " or char == "\x7f" for char in text):
        raise ValueError("it has a control character")
    text = text.partition("?")[0]
    authority, slash, path = text.partition("/")
    userinfo, at, host = authority.rpartition("@")
    host = _host(host)
    if at:
        if not _USERINFO.issuperset(userinfo):
            raise ValueError("its user information has a character that must be escaped")
        _unescape(userinfo)
    return host, _unescape(slash + path)


def _host(host: str) -> str:
    """The host with its port, checked."""
    if "[" in host:
        inner, bracket, port = host.rpartition("]")
        if not bracket or host.rfind("[") != 0:
            raise ValueError("it is not a bracketed IPv6 address")
        _check_ipv6(inner[1:])
    else:
        name, colon, port = host.partition(":")
        port = colon + port
        for at, char in enumerate(name):
            if char == "%" and name[at + 1 : at + 2] < "8" and name[at : at + 3] != "%25":
                raise ValueError("its host has an escaped ASCII character")
            if char != "%" and char < "\x80" and char not in _HOST:
                raise ValueError(f"its host has the character {char!r}")
    if port and not (port[0] == ":" and _DIGITS.issuperset(port[1:])):
        raise ValueError("its port is not a number")
    return _unescape(host)


def _check_ipv6(text: str) -> None:
    """Check what stands in brackets: an address, perhaps `%25` and a zone, in which escapes may stand (RFC 6874)."""
    from ipaddress import IPv6Address  # noqa: PLC0415 - hardly ever needed

    address, percent, zone = text.partition("%")
    IPv6Address(address)
    if not percent:
        return
    _unescape(zone)
    first, *escaped = zone[2:].split("%")
    raw = first + "".join(piece[2:] for piece in escaped)
    if not zone.startswith("25") or zone == "25":
        raise ValueError("its IPv6 address has an escape that begins no zone")
    if any(char < "\x80" and char not in _HOST for char in raw) or any(
        piece[:2] not in ("25", "20") and chr(int(piece[:2], 16)) not in _HOST for piece in escaped
    ):
        raise ValueError("the zone of its IPv6 address has a character that no host has")


def _unescape(text: str) -> str:
    """`%XX` replaced by the byte."""
    if "%" not in text:
        return text
    first, *rest = text.split("%")
    for at, piece in enumerate(rest):
        if len(piece) < 2 or not _HEX.issuperset(piece[:2]):
            raise ValueError("it has a % that is not an escape")
        rest[at] = chr(int(piece[:2], 16)) + piece[2:]
    return first + "".join(rest)
