"""Whether a command of a page is one that its program takes, as far as that can be known without the program."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from botocore import xform_name
from botocore.session import Session

from contract.pages import options
from pullpass.cli import build_parser
from verify.__main__ import parser as verify_parser

if TYPE_CHECKING:
    from collections.abc import Callable

# The sub-command -> its options, those that it needs first. Source: the gcloud reference.
GCLOUD: dict[str, tuple[set[str], set[str]]] = {
    "services enable": (set(), {"--project"}),
    "iam workload-identity-pools create": ({"--location"}, {"--project"}),
    "iam workload-identity-pools providers create-oidc": (
        {"--location", "--workload-identity-pool", "--issuer-uri", "--attribute-mapping"},
        {"--project", "--allowed-audiences", "--attribute-condition", "--jwk-json-path"},
    ),
    "iam workload-identity-pools providers update-oidc": (
        {"--location", "--workload-identity-pool"},
        {"--project", "--jwk-json-path"},
    ),
    "iam service-accounts create": (set(), {"--project"}),
    "iam service-accounts add-iam-policy-binding": ({"--role", "--member"}, {"--project"}),
    "artifacts repositories add-iam-policy-binding": ({"--role", "--member"}, {"--project", "--location"}),
    "container node-pools create": ({"--cluster"}, {"--project", "--location", "--image-type"}),
}
# Likewise, by kubectl's own help.
KUBECTL: dict[str, set[str]] = {
    "get": {"--raw"},
    "apply": {"--filename"},
    "edit": {"--namespace"},
    "describe": {"--namespace"},
    "delete": {"--namespace"},
    "create token": {"--namespace", "--audience", "--duration"},
    "auth can-i": {"--as", "--as-group"},
    "debug": {"--stdin", "--tty", "--image"},
}
# Options without a value.
FLAGS = {"--stdin", "--tty"}
# Programs that every node, or whoever builds one, has; how they are called is not looked at.
PLAIN = {
    "bash", "cmp", "cp", "curl", "dnf", "docker", "exit", "grep", "install", "journalctl", "ln", "openssl", "pip",
    "printf", "python", "python3", "python3.12", "rm", "set", "sleep", "systemctl", "tr", "umask",
}  # fmt: skip
AWS_GLOBAL = {"--region", "--query", "--output"}


@functools.cache
def _aws(service: str) -> Any:
    # The SDK calls it by the service's name, the command line by what it is of it.
    return Session().get_service_model({"s3api": "s3"}.get(service, service))


def aws(words: list[str]) -> None:
    """A command of AWS's: the operation, its parameters and those that it needs, by the SDK's description of it."""
    service, command, *rest = words
    model = _aws(service)
    operations = {xform_name(name).replace("_", "-"): name for name in model.operation_names}
    shape = model.operation_model(operations[command]).input_shape
    # CreateOpenIDConnectProvider's ClientIDList is --client-id-list.
    members = {f"--{xform_name(name).replace('_', '-')}": name for name in shape.members}
    operands, given = options(rest)
    assert not operands, operands
    assert set(given) <= set(members) | AWS_GLOBAL, set(given) - set(members) - AWS_GLOBAL
    needed = {option for option, name in members.items() if name in shape.required_members}
    assert needed <= set(given), needed - set(given)
    for option, value in given.items():
        nested = shape.members[members[option]] if option in members else None
        if nested is not None and nested.type_name == "structure" and "=" in value:
            assert {part.partition("=")[0] for part in value.split(",")} <= set(nested.members)


def gcloud(words: list[str]) -> None:
    """A command of gcloud's: the longest known sub-command, its options, and something to act on."""
    name = max((known for known in GCLOUD if words[: len(known.split())] == known.split()), key=len)
    operands, given = options(words[len(name.split()) :])
    needed, possible = GCLOUD[name]
    assert needed <= set(given) <= needed | possible, (needed - set(given), set(given) - needed - possible)
    assert operands
    assert all(given.values())


def kubectl(words: list[str]) -> None:
    """A command of kubectl's; options may stand before the sub-command."""
    words = words[: words.index("--")] if "--" in words else words
    operands, given = options([word for word in words if word not in FLAGS])
    name = next(known for known in KUBECTL if operands[: len(known.split())] == known.split())
    assert {*given, *(FLAGS & set(words))} <= KUBECTL[name]
    assert all(given.values())


def pullpass(words: list[str]) -> None:
    """A command of ours, by the parser that it has."""
    build_parser(words[0]).parse_args(words)


def script(words: list[str]) -> None:
    """One of our scripts, or a file that is run by bash."""
    if words[0] == "scripts/verify-cloud":
        arguments = verify_parser().parse_args(words[1:])
        assert len(arguments.image) == 2


CHECKED: dict[str, Callable[[list[str]], None]] = {
    "aws": aws,
    "bash": script,
    "gcloud": gcloud,
    "kubectl": kubectl,
    "pullpass": pullpass,
}


def check(words: list[str]) -> None:
    """Check one command.

    Raises:
        AssertionError: it is not one that its program takes, or the program is not known here.
    """
    name = words[0].rpartition("/")[2]
    if name in CHECKED:
        CHECKED[name](words[1:])
    else:
        assert name in PLAIN, f"{name} is a program that no check knows"
