"""The set-up pages, as far as this machine can follow them: every block is read by what would read it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cloud.tokens import Issuer
from contract import command_lines, pages
from contract.pages import DOCS, ROOT, Block
from contract.walkthroughs import (
    AWS_PAGE,
    CLOUD_PAGES,
    GOOGLE_PAGE,
    NODE_PAGE,
    OPEN_PAGE,
    PAGES,
    READ,
    configuration,
    every,
    example,
    mint,
)
from pullpass import config
from pullpass.config import schema
from pullpass.errors import CODES, PullpassError
from verify import aws, google
from verify.inputs import InputError

if TYPE_CHECKING:
    from pathlib import Path

# --- every block


def test_every_block_is_read_by_a_test() -> None:
    """A language that nothing here reads is an error, and no page is without blocks but the list of open points."""
    for page in PAGES:
        languages = {block.language for block in pages.blocks(page)}
        assert languages <= READ | {"text"}  # a picture
        assert bool(languages) == (page != OPEN_PAGE)


@pytest.mark.parametrize("block", every("toml"))
def test_configurations_load(block: Block, tmp_path: Path) -> None:
    """The program takes each as it stands there."""
    path = tmp_path / "config.toml"
    path.write_text(block.text, encoding="utf-8")
    path.chmod(0o644)
    loaded = config.load(str(path))
    assert loaded.node.cluster == "prod-1"


def scripts() -> list[Any]:
    """Every shell script, also those inside of other documents."""
    found = every("bash")
    for block in pages.blocks(NODE_PAGE, "mime"):
        for kind, text in pages.parts(block.text):
            if kind == "text/x-shellscript":
                found.append(pytest.param(block._replace(text=text), id=f"{block.where}-user-data"))
    for container in daemon_set()["spec"]["template"]["spec"]["initContainers"]:
        found.append(pytest.param(Block(NODE_PAGE, 0, "bash", container["args"][0]), id="daemon-set"))
    return found


def daemon_set() -> dict[str, Any]:
    """The DaemonSet for GKE."""
    documents = [yaml.safe_load(block.text) for block in pages.blocks(NODE_PAGE, "yaml")]
    (found,) = [document for document in documents if document["kind"] == "DaemonSet"]
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("block", scripts())
def test_scripts_are_shell(block: Block) -> None:
    """The shell reads each without running it."""
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", [row for row in scripts() if row.id != "daemon-set"])
def test_commands_are_what_their_programs_take(block: Block) -> None:
    """AWS's by the SDK's description of the API, ours by their parsers, gcloud's and kubectl's by tables."""
    found = pages.commands(block.text)
    assert found
    for words in found:
        command_lines.check(words)


@pytest.mark.parametrize(
    "line",
    [
        "aws iam create-role --role-name x",
        "aws iam create-rule --role-name x",
        "aws iam create-open-id-connect-provider --url https://a --client-ids b",
        "aws s3api put-public-access-block --bucket b --public-access-block-configuration BlockAll=true",
        "gcloud iam workload-identity-pools providers create-oidc prod-1 --location global",
        "gcloud artifacts repositories add-iam-policy-binding r --role a --member b --repository c",
        "gcloud artifacts repositories add-iam-policy-binding --role a --member b",
        "kubectl create token web --aud x",
        "kubectl create token web --audience",
        "pullpass explain --configuration x",
        "pullpass install",
        "bash scripts/verify-cloud aws --token-file t --image a",
        "frobnicate",
    ],
)
def test_a_command_that_nobody_takes_is_noticed(line: str) -> None:
    """The checks above are not empty."""
    (words,) = pages.commands(line)
    with pytest.raises((AssertionError, KeyError, StopIteration, ValueError, PullpassError, InputError)):
        command_lines.check(words)


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    """Links lead somewhere; paths of the repository in commands and between backticks are there."""
    for link in pages.links(page):
        assert (DOCS / link).exists(), link
    named = re.findall(r"`((?:config|docs|scripts|tests|provider)/[^`\s]*)`", pages.prose(page))
    for block in pages.blocks(page, "bash", "mime"):
        named += re.findall(r"(?<![\w/.-])((?:config|docs|scripts|tests|provider)/[\w./-]+)", block.text)
        named += re.findall(r"file://(config/\S+)", block.text)
    for path in named:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_codes_that_are_named_exist(page: str) -> None:
    """A code between backticks is one of the program's."""
    named = re.findall(r"`((?:aws|gcp|cloud|token|config|registry|annotation|launcher|no)-[a-z-]+)`", pages.text(page))
    assert set(named) <= {*CODES, *(claim.name for claim in (*aws.CLAIMS, *google.CLAIMS)), "cloud-platform"}


# --- what belongs together


@pytest.mark.parametrize("page", PAGES)
def test_one_example_throughout(page: str) -> None:
    """Audiences, accounts, numbers and addresses are the same wherever they occur on a page."""
    whole = pages.text(page)
    assert set(re.findall(r"pull\.(?:ecr|gcr)\.[\w-]+", whole)) <= {"pull.ecr.prod-1", "pull.gcr.prod-1"}
    assert set(re.findall(r"\b\d{12}\b", whole)) <= {"111122223333", "123456789012"}
    assert set(re.findall(r"[\w.-]+@[\w.-]+\.gserviceaccount\.com", whole)) <= {
        "pull@example-project.iam.gserviceaccount.com"
    }
    assert set(re.findall(r"https://oidc[\w.-]*/[\w-]+", whole)) <= {"https://oidc.example.test/c1"}


@pytest.mark.parametrize(("page", "kind"), [(AWS_PAGE, "ecr"), (GOOGLE_PAGE, "gcr")])
def test_the_table_is_the_example(page: str, kind: str) -> None:
    """What the table at the top says is what configurations and commands use."""
    whole = pages.text(page)
    for block in pages.blocks(page, "toml"):
        loaded = schema.check(tomllib.loads(block.text), block.where)
        assert loaded.node.cluster == example(page, "cluster")
        assert list(loaded.node.issuers) == [example(page, "issuer of its tokens")]
    section = getattr(configuration(page), kind)
    cloud = {"ecr": "ECR", "gcr": "Google"}[kind]
    assert section.audience == example(page, f"audience of tokens for {cloud}")
    tokens = re.findall(r"--audience (\S+?)\)?\s", whole)
    assert set(tokens) == {section.audience}
    role, _ = yaml.safe_load_all((ROOT / "config/rbac-audience.yaml").read_text(encoding="utf-8"))
    assert section.audience in role["rules"][0]["resources"]
    asked = re.findall(r"request-serviceaccounts-token-audience (\S+)", whole)
    assert set(asked) == {section.audience}
    assert role["rules"][0]["verbs"] == ["request-serviceaccounts-token-audience"]


CONFIGURATIONS = [(page, number) for page in CLOUD_PAGES for number in range(len(pages.blocks(page, "toml")))]


@pytest.mark.parametrize(("page", "number"), CONFIGURATIONS)
def test_the_request_tried_by_hand_is_granted(page: str, number: int, tmp_path: Path) -> None:
    """The page's own commands, with a stand-in for kubectl, make a request to which its configurations say yes."""
    configured = pages.blocks(page, "toml")[number].text
    (script,) = [block.text for block in pages.blocks(page, "bash") if "CredentialProviderRequest" in block.text]
    (asked,) = [words for words in pages.commands(script) if words[:3] == ["kubectl", "create", "token"]]
    (account,), given = pages.options(asked[3:])
    issuer = Issuer(schema.check(tomllib.loads(configured), page).node.issuers[0])
    token = mint(issuer, given["--namespace"], account, given["--audience"])
    for name, text in (
        ("token", token),
        ("kubectl", f"#!/bin/sh\ncat {tmp_path}/token\n"),
        ("config.toml", configured),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o700)
    path = f"{tmp_path}:{os.path.dirname(sys.executable)}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "verdict: issue"
    assert (tmp_path / "request.json").stat().st_mode & 0o077 == 0


# --- what is open


def test_the_open_points_are_those_of_the_script() -> None:
    """The page of open points lists each claim that `scripts/verify-cloud` tries, and no other."""
    listed = re.findall(r"^\| `([a-z-]+)`: ", pages.text(OPEN_PAGE), re.MULTILINE)
    assert listed == [claim.name for claim in (*aws.CLAIMS, *google.CLAIMS)]


def test_pages_say_that_nobody_has_tried_them() -> None:
    """Each walkthrough leads to the page of open points."""
    for page in (AWS_PAGE, GOOGLE_PAGE, NODE_PAGE):
        assert OPEN_PAGE in pages.links(page)
