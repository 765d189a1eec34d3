"""Configurations for tests: documents to change, and a file with its runtime directory."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from pullpass import config
from pullpass.config import Config, compiled, schema
from pullpass.errors import BAD_INPUT, PullpassError

if TYPE_CHECKING:
    from pathlib import Path

ROLE = "arn:aws:iam::111122223333:role/pull-{namespace}"
ECR_HOST = "111122223333.dkr.ecr.us-west-2.amazonaws.com"
IMAGE = f"{ECR_HOST}/team-a/**"
GCR_IMAGE = "europe-docker.pkg.dev/proj/team-b/**"
PROVIDER = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/nodes/providers/prod-1"
EMAIL = "pull@proj.iam.gserviceaccount.com"
KEY = "eks.amazonaws.com/ecr-role-arn"

LEAST: dict[str, Any] = {
    "version": 1,
    "node": {"cluster": "prod-1", "issuers": ["https://oidc.example.test/c1"]},
    "ecr": {"audience": "pull.ecr.prod-1"},
    "grant": [{"service_accounts": ["team-a/*"], "images": [IMAGE], "identity": ROLE}],
}
BOTH = LEAST | {
    "gcr": {"audience": "pull.gcr.prod-1", "provider": PROVIDER},
    "grant": [*LEAST["grant"], {"service_accounts": ["team-b/*"], "images": [GCR_IMAGE], "identity": EMAIL}],
}
ABSENT = object()


def changed(base: dict[str, Any], *changes: tuple[str, Any]) -> dict[str, Any]:
    """A copy of a document with some values at their key paths changed, added or (ABSENT) taken out."""
    document = copy.deepcopy(base)
    for path, value in changes:
        *steps, last = (int(step) - 1 if step.isdigit() else step for step in path.split("."))
        holder: Any = document
        for step in steps:
            holder = holder[step] if isinstance(step, int) else holder.setdefault(step, {})
        if value is ABSENT:
            del holder[last]
        else:
            holder[last] = value
    return document


def accept(base: dict[str, Any], *changes: tuple[str, Any]) -> Config:
    """The configuration of a changed document."""
    return schema.check(changed(base, *changes), "config.toml")


def finding(base: dict[str, Any], *changes: tuple[str, Any]) -> str:
    """What is said about a changed document, without the file's name."""
    with pytest.raises(PullpassError) as caught:
        schema.check(changed(base, *changes), "config.toml")
    assert caught.value.code == "config-invalid"
    assert caught.value.status == BAD_INPUT
    assert caught.value.what.startswith("config.toml: ")
    assert "\n" not in caught.value.line()
    return caught.value.what.removeprefix("config.toml: ")


def grant(**fields: Any) -> dict[str, Any]:
    """A grant with some keys changed, added or (ABSENT) taken out."""
    whole = LEAST["grant"][0] | fields
    return {key: value for key, value in whole.items() if value is not ABSENT}


TOML = """\
version = 1
[node]
cluster = "prod-1"
issuers = ["https://oidc.example.test/c1"]
[paths]
runtime = "{runtime}"
[ecr]
audience = "pull.ecr.prod-1"
alias = [{{ host = "images.example.com", account = "111122223333", region = "us-west-2" }}]
[gcr]
audience = "pull.gcr.prod-1"
provider = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/nodes/providers/prod-1"
[[grant]]
service_accounts = ["team-a/*"]
images = ["111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/**"]
identity = {{ annotation = "example.com/role", allow = ["arn:aws:iam::111122223333:role/{{namespace}}/*"] }}
"""


class Place:
    """A configuration file and a runtime directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "config.toml"
        self.runtime = directory / "run"
        self.compiled = self.runtime / compiled.NAME
        self.write(TOML.format(runtime=self.runtime))

    def write(self, text: str) -> None:
        """Write the source anew, with a mode that is fine."""
        self.file.write_text(text)
        self.file.chmod(0o644)

    def load(self) -> Config:
        """As a launcher loads it."""
        return config.load(str(self.file), runtime=str(self.runtime))

    def refused(self, *, runtime: bool = False) -> PullpassError:
        """The error with which it is refused."""
        with pytest.raises(PullpassError) as caught:
            config.load(str(self.file), runtime=str(self.runtime) if runtime else None)
        assert caught.value.status == BAD_INPUT
        return caught.value

    def stored(self) -> dict[str, Any]:
        """The compiled form as it is on disk."""
        document: dict[str, Any] = json.loads(self.compiled.read_bytes())
        return document
