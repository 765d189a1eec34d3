"""What a grant is written in: globs, templates and the words for identities. Matched segment by segment without `re`.

Globs: `/` parts segments. `*` stands for any run of characters inside a segment, none included. `**` is a whole
segment: in front or in the middle it stands for any number of segments, none included, at the end for at least one, so
that `host/team-a/**` means what is below `host/team-a`, not that name itself. A text with an empty segment matches
nothing.

Templates: `{namespace}`, `{service_account}` and `{cluster}` are replaced by names. What a name may consist of is
known, so it can be told where one ends: two placeholders, or a placeholder and a `*`, need between them a character
that the names can't have. Otherwise `{namespace}-{service_account}` would make one role of `a` + `b-c` and `a-b` + `c`,
and with `pull-{namespace}-*` the namespace `a` could choose a role that is meant for `a-b`.
"""

from __future__ import annotations

from itertools import pairwise

from pullpass.registry.aws import parse_role
from pullpass.registry.google import is_service_account_email
from pullpass.registry.image import check_host
from pullpass.registry.kubelet import star_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
# What a value may consist of: RFC 1123 labels (namespaces, the cluster's name), RFC 1123 subdomains (service accounts).
PLACEHOLDERS = {"namespace": _LABEL, "cluster": _LABEL, "service_account": _LABEL | frozenset(".")}

# What an identity may be besides a role and an e-mail (the design's section 2), and the exception above a wider grant.
PRINCIPAL = "principal"
NODE = "node"
ANONYMOUS = "anonymous"
REFUSE = "refuse"
# Those that need no token, and are the same for both clouds.
CLOUDLESS = (NODE, ANONYMOUS, REFUSE)
WORDS = (PRINCIPAL, *CLOUDLESS)

_DIGITS = frozenset("0123456789")
_IMAGE = _LABEL | frozenset("._*")
_SAMPLE = dict.fromkeys(PLACEHOLDERS, "a")


def glob_matches(glob: str, text: str) -> bool:
    """Whether a glob matches the whole of `text`.

    Time grows with the product of their lengths at most: only the last `**` is ever tried again.
    """
    if "*" not in glob:
        return glob == text
    globs, texts = glob.split("/"), text.split("/")
    if "" in texts:
        return False
    if globs[-1] == "**":
        globs[-1:] = ["**", "*"]
    return _segments_match(globs, texts)


def _segments_match(globs: list[str], texts: list[str]) -> bool:
    at = retry_glob = retry_text = 0
    position = 0
    retry = False
    while position < len(texts):
        if at < len(globs) and globs[at] == "**":
            retry, retry_glob, retry_text = True, at + 1, position
            at += 1
        elif at < len(globs) and star_matches(globs[at], texts[position]):
            at += 1
            position += 1
        elif retry:
            retry_text += 1
            at, position = retry_glob, retry_text
        else:
            return False
    return all(rest == "**" for rest in globs[at:])


def parse(template: str) -> tuple[tuple[str, str], ...]:
    """The parts of a template: each a literal and the placeholder that follows it ("" at the end).

    Raises:
        ValueError: an unknown placeholder, or a brace that belongs to none.
    """
    parts: list[tuple[str, str]] = []
    rest = template
    while True:
        literal, brace, rest = rest.partition("{")
        if "}" in literal:
            raise ValueError("it has a } without {")
        if not brace:
            parts.append((literal, ""))
            return tuple(parts)
        name, brace, rest = rest.partition("}")
        if not brace:
            raise ValueError("it has a { without }")
        if name not in PLACEHOLDERS:
            raise ValueError("placeholders are " + ", ".join(f"{{{known}}}" for known in PLACEHOLDERS))
        parts.append((literal, name))


def render(template: str, values: Mapping[str, str]) -> str:
    """Fill in a template.

    Args:
        template: one that was checked.
        values: the value of each placeholder.

    Raises:
        ValueError: the template is none, or a value has a character that its kind of name can't have; with it neither
            the ambiguity rule nor "a value can't act as a glob" would hold.
    """
    filled = []
    for literal, name in parse(template):
        filled.append(literal)
        if name:
            value = values[name]
            if not value or not PLACEHOLDERS[name].issuperset(value):
                raise ValueError(f"the {name} is not a name of Kubernetes")
            filled.append(value)
    return "".join(filled)


def allow_matches(pattern: str, values: Mapping[str, str], identity: str) -> bool:
    """Whether an identity is among those that a pattern of an allow-list grants to the workload with these values."""
    return glob_matches(render(pattern, values), identity)


def check_image_glob(glob: str) -> None:
    """Check a glob of images, `HOST/PATH`.

    The host may have a `*` (`*.dkr.ecr.us-west-2.amazonaws.com`), but something of it must be said: which hosts there
    are at all is the host gate's business, and a grant that names none would reach into registries added later.

    Raises:
        ValueError: says what is wrong.
    """
    host, *path = glob.split("/")
    if not path:
        raise ValueError("it has no path after the host")
    name, colon, port = host.partition(":")
    if not name.strip("*"):
        raise ValueError("it names no host")
    if any("*" in label for label in name.split(".")[-2:]):
        raise ValueError("the last two labels of its host must be written out")
    if "*" not in host:
        check_host(host)
    elif not (_LABEL | frozenset(".*")).issuperset(name) or (colon and not (port and _DIGITS.issuperset(port))):
        raise ValueError("its host is not a host name in lower case, with * where it is left open")
    _check_segments(path, _IMAGE, "lower-case letters, digits, . _ - and * (a grant is for all tags and digests)")


def check_service_account_glob(glob: str) -> None:
    """Check a glob of service accounts, `NAMESPACE/NAME`.

    Raises:
        ValueError: says what is wrong.
    """
    segments = glob.split("/")
    if len(segments) != 2 or "**" in segments:
        raise ValueError("it is not NAMESPACE/NAME, each a name or a glob with *")
    _check_segments(segments[:1], _LABEL | frozenset("*"), "lower-case letters, digits, - and *")
    _check_segments(segments[1:], _LABEL | frozenset(".*"), "lower-case letters, digits, . - and *")


def check_role(template: str) -> None:
    """Check a template of IAM role ARNs: unambiguous, partition and account literal.

    Raises:
        ValueError: says what is wrong.
    """
    if "*" in template:
        raise ValueError("an identity is no glob: it can't have a *")
    check_unambiguous(template)
    _check_arn(template)


def is_role(template: str) -> bool:
    """Whether a checked identity, or its template, is that of an IAM role."""
    return template.startswith("arn:")


def check_identity(template: str) -> None:
    """Check a template of identities: a word, an IAM role ARN as in `check_role`, or a Google service account's e-mail.

    Of an e-mail the part after the `@`, which is the project, must be literal.

    Raises:
        ValueError: says what is wrong.
    """
    if template in WORDS:
        return
    if is_role(template):
        check_role(template)
        return
    if "*" in template:
        raise ValueError("an identity is no glob: it can't have a *")
    check_unambiguous(template)
    _check_email(template)


def check_allow(pattern: str) -> None:
    """Check one entry of an allow-list: `principal`, or an identity template that may have `*` and `**` as well.

    Raises:
        ValueError: says what is wrong.
    """
    if pattern == PRINCIPAL:
        return
    check_unambiguous(pattern)
    for segment in pattern.split("/"):
        if "**" in segment and segment != "**":
            raise ValueError("** must be a whole segment between slashes")
    if is_role(pattern):
        _check_arn(pattern)
    else:
        _check_email(pattern)


def check_unambiguous(pattern: str) -> None:
    """Check that no two sets of values fill a template to one text, or let an allow pattern match one text.

    Segment by segment: what stands before the first open place (`*` in a segment, `**` among the segments) is read from
    the left, what stands after the last one from the right, and a placeholder between two of them can't be told apart.

    Raises:
        ValueError: it is no template, or it is ambiguous.
    """
    parse(pattern)
    segments = pattern.split("/")
    depths = [at for at, segment in enumerate(segments) if segment == "**"]
    for at, segment in enumerate(segments):
        _check_segment(_tokens(segment), between_depths=bool(depths) and depths[0] < at < depths[-1])


def _check_segment(tokens: list[tuple[str, str]], *, between_depths: bool) -> None:
    stars = [place for place, (_, name) in enumerate(tokens) if name == "*"]
    for place, (_, name) in enumerate(tokens):
        if name == "*":
            continue
        if between_depths:
            raise ValueError(f"{{{name}}} stands between two **, so it can't be told which segment it is")
        if stars and stars[0] < place < stars[-1]:
            raise ValueError(f"{{{name}}} stands between two *, so it can't be told where it begins")
    for (_, left), (gap, right) in pairwise(tokens):
        names = PLACEHOLDERS.get(left, frozenset()) | PLACEHOLDERS.get(right, frozenset())
        if names and names.issuperset(gap):
            shown = " and ".join(name if name == "*" else f"{{{name}}}" for name in (left, right))
            raise ValueError(f"between {shown} there must be a character that no name has: one of _ / @ + = ,")


def _tokens(segment: str) -> list[tuple[str, str]]:
    """The open places of a segment: the literal before each, and its placeholder or `*`."""
    tokens = []
    for literal, name in parse(segment):
        *before, last = literal.split("*")
        tokens += [(text, "*") for text in before]
        if name:
            tokens.append((last, name))
    return tokens


def _check_segments(segments: list[str], characters: frozenset[str], words: str) -> None:
    for segment in segments:
        if not segment:
            raise ValueError("it has an empty segment")
        if "**" in segment and segment != "**":
            raise ValueError("** must be a whole segment between slashes")
        if not characters.issuperset(segment):
            raise ValueError(f"it has a segment with other characters than {words}")


def _sample(pattern: str) -> str:
    return render(pattern.replace("**", "*").replace("*", "a"), _SAMPLE)


def _check_arn(pattern: str) -> None:
    parse_role(_sample(pattern))
    account = pattern.partition("/")[0]
    if "{" in account or "*" in account:
        raise ValueError("partition and account must be literal")


def _check_email(pattern: str) -> None:
    if not is_service_account_email(_sample(pattern)):
        raise ValueError("it is neither an IAM role ARN nor the e-mail address of a Google service account")
    domain = pattern.partition("@")[2]
    if "{" in domain or "*" in domain:
        raise ValueError("the part after the @ must be literal")
