"""From the command line to a case: a checked configuration, a token, two images, and as whom they are asked for.

Without a configuration file one is put together from the options, and goes through the same checks. In both cases the
grants are replaced by one for these two images, so that what is tried does not depend on what else is granted.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass import config as configuration
from pullpass import identity, policy, registry
from pullpass.config import schema
from pullpass.errors import PullpassError, outside
from pullpass.secret import Secret

if TYPE_CHECKING:
    import argparse

    from pullpass.config import Config
    from pullpass.identity import Subject
    from pullpass.policy import Decision
    from pullpass.registry import Target

AWS = "aws"
GOOGLE = "google"
CLUSTER = "verify-cloud"  # shows in the names of sessions when no configuration names another
_REFERENCE = re.compile(r"(?P<name>[^@]+?)(?::(?P<tag>\w[\w.-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))", re.ASCII)


class InputError(Exception):
    """The command line, or what it names, is wrong: what, and what to do, in one line."""


class Image(NamedTuple):
    """An image that is to be pulled.

    Attributes:
        target: its repository.
        reference: its tag or digest.
    """

    target: Target
    reference: str

    def __str__(self) -> str:
        return f"{self.target.image}{'@' if ':' in self.reference else ':'}{self.reference}"


class Case(NamedTuple):
    """What is to be tried.

    Attributes:
        cloud: `AWS` or `GOOGLE`.
        config: the configuration; its one grant is for the two images.
        token: the service-account token.
        subject: whose it is.
        first: the image A.
        second: the image B, which the same identity may read.
        service_account: the Google service account that may be impersonated, or "".
        wait: whether to wait for the ends of sessions and tokens.
    """

    cloud: str
    config: Config
    token: Secret
    subject: Subject
    first: Image
    second: Image
    service_account: str
    wait: bool


def read(arguments: argparse.Namespace) -> Case:
    """Make the case of a command line.

    Raises:
        InputError: something is wrong with it.
    """
    if len(arguments.image) != 2:
        raise InputError(f"--image is given twice, and not {len(arguments.image)} times")
    try:
        token = _token(arguments.token_file)
        subject = identity.subject_of(identity.decode(token.reveal())[1])
        if arguments.config:
            config = configuration.load(os.path.abspath(arguments.config))
        else:
            config = schema.check(_document(arguments, subject), "the command line")
        hosts = config.gcr.hosts if config.gcr else ()
        aliases = config.ecr.aliases if config.ecr else ()
        first, second = (_image(text, aliases, hosts) for text in arguments.image)
        check = _check_aws if arguments.cloud == AWS else _check_google
        check(config, first, second)
        decision = _decision(arguments, config, subject, first, second)
    except PullpassError as error:
        raise InputError(f"{error.code}: {error.what}; {error.hint}") from None
    email = decision.identity if arguments.cloud == GOOGLE and decision.identity != policy.PRINCIPAL else ""
    grants = (_grant(decision, subject, first, second),)
    return Case(arguments.cloud, config._replace(grants=grants), token, subject, first, second, email, arguments.wait)


def _token(path: str) -> Secret:
    try:
        if path == "-":
            if sys.stdin.isatty():
                raise InputError("--token-file -: stdin is a terminal; pipe `kubectl create token` into it")
            text = sys.stdin.read(identity.LIMIT_CHARS + 2)
        else:
            with open(path, encoding="ascii") as stream:
                text = stream.read(identity.LIMIT_CHARS + 2)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"--token-file {outside(path)} can't be read: {why}") from None
    if not text.strip():
        raise InputError(f"--token-file {outside(path)} is empty; `kubectl create token` writes a token to its stdout")
    return Secret(text.strip())


def _document(arguments: argparse.Namespace, subject: Subject) -> dict[str, Any]:
    """The configuration that the options make. Issuer and audience are the token's own: the cloud judges them."""
    if len(subject.audiences) != 1:
        raise InputError(f"the token is for {len(subject.audiences)} audiences; the kubelet's are for one")
    document: dict[str, Any] = {"version": 1, "node": {"cluster": CLUSTER, "issuers": [subject.issuer]}}
    if arguments.cloud == AWS:
        if not arguments.role:
            raise InputError("name the role by --role, or a configuration of pullpass by --config")
        document["ecr"] = {"audience": subject.audiences[0]}
        chosen = arguments.role
    else:
        if not arguments.provider:
            raise InputError(
                "name the workload identity provider by --provider, or a configuration of pullpass by --config"
            )
        document["gcr"] = {"audience": subject.audiences[0], "provider": arguments.provider}
        chosen = arguments.service_account or policy.PRINCIPAL
    names = [_REFERENCE.fullmatch(text) for text in arguments.image]
    document["grant"] = [
        {
            "service_accounts": [f"{subject.namespace}/{subject.service_account}"],
            "images": [match["name"] for match in names if match],
            "identity": chosen,
        }
    ]
    return document


def _image(text: str, aliases: Any, hosts: tuple[str, ...]) -> Image:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise InputError(f"--image {outside(text)}: expected HOST/REPOSITORY:TAG or HOST/REPOSITORY@sha256:DIGEST")
    return Image(registry.match(match["name"], aliases, hosts), match["tag"] or match["digest"])


def _check_aws(config: Config, first: Image, second: Image) -> None:
    one, other = first.target, second.target
    if {one.kind, other.kind} != {registry.ECR}:
        raise InputError("both images must be in private ECR registries")
    if one.host != other.host:
        # Another registry may refuse the password for being another one, whatever limits it.
        raise InputError(f"both images must be in one registry, and these are in {one.host} and {other.host}")
    if one.repository == other.repository:
        raise InputError("the images must be in two repositories: whether one password opens both is the question")
    if config.ecr is None:
        raise InputError("the configuration has no [ecr]")


def _check_google(config: Config, first: Image, second: Image) -> None:
    if {first.target.kind, second.target.kind} != {registry.GCR}:
        raise InputError("both images must be in Artifact Registry or gcr.io")
    if first.target.image == second.target.image:
        raise InputError("the images must be two different ones")
    if config.gcr is None:
        raise InputError("the configuration has no [gcr]")


def _decision(arguments: argparse.Namespace, config: Config, subject: Subject, first: Image, second: Image) -> Decision:
    """As whom the images are asked for: what an option names, or what the configuration gives for both."""
    named = arguments.role if arguments.cloud == AWS else arguments.service_account
    if named:
        _check_named(arguments.cloud, named)
        return policy.Decision("verify-cloud", named, "", pull_through=False)
    option = "--role" if arguments.cloud == AWS else "--service-account"
    try:
        decisions = [policy.decide(subject, {}, image.target, config) for image in (first, second)]
    except PullpassError as error:
        raise InputError(f"{error.code}: {error.what}; name the identity by {option}") from None
    if decisions[0].identity != decisions[1].identity or decisions[0].via != decisions[1].via:
        found = " and ".join(outside(decision.identity) for decision in decisions)
        raise InputError(f"the configuration gives {found} for the two images; name one by {option}")
    if decisions[0].identity in (policy.NODE, policy.ANONYMOUS):
        raise InputError(f"the configuration gives the identity {decisions[0].identity}; name another by {option}")
    return decisions[0]


def _check_named(cloud: str, named: str) -> None:
    if cloud == GOOGLE:
        if not registry.is_service_account_email(named):
            raise InputError(f"--service-account {outside(named)}: expected NAME@PROJECT.iam.gserviceaccount.com")
        return
    try:
        registry.parse_role(named)
    except ValueError as error:
        raise InputError(f"--role {outside(named)}: {error}") from None


def _grant(decision: Decision, subject: Subject, first: Image, second: Image) -> configuration.Grant:
    return configuration.Grant(
        name="verify-cloud",
        service_accounts=(f"{subject.namespace}/{subject.service_account}",),
        images=(first.target.image, second.target.image),
        node=False,
        identity=decision.identity,
        annotations=(),
        allow=(),
        via=decision.via,
        pull_through=decision.pull_through,
    )
