"""Launchers as the kubelet has them: installed from a configuration, run without arguments in a bare environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from cloud.gcp.world import GOOGLE_AUDIENCE, provider_name

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud

CONFIG = """\
version = 1

[node]
cluster = "prod-1"
issuers = ["{issuer}"]
aws_metadata = "{imds}"
google_metadata = "{gmetadata}"
{node}

[paths]
state = "{directory}/state"
runtime = "{directory}/run"

[ecr]
audience = "pull.ecr.prod-1"
sts_endpoint = "{sts}"
ecr_endpoint = "{ecr}"
ecr_public_endpoint = "{ecr_public}"
{ecr_more}

{gcr}
{grants}
"""
GCR = """\
[gcr]
audience = "{audience}"
provider = "{provider}"
token_url = "{gsts}/v1/token"
iam_credentials_url = "{iamcredentials}"
{more}
"""

SERVICES = ("sts", "ecr", "ecr_public", "gsts", "iamcredentials")

GRANTS = """\
[[grant]]
name = "team images"
service_accounts = ["team-a/*", "team-b/*"]
images = ["111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/**"]
identity = "arn:aws:iam::111122223333:role/pull-{namespace}"

[[grant]]
name = "public"
service_accounts = ["*/*"]
images = ["111122223333.dkr.ecr.us-west-2.amazonaws.com/public/**"]
identity = "anonymous"
"""


def write_config(
    directory: Path,
    cloud: Cloud,
    *,
    tls: bool = False,
    node: str = "",
    ecr: str = "",
    gcr: str | None = None,
    grants: str = GRANTS,
) -> Path:
    """Write a configuration that points at the local cloud, and return its path.

    Args:
        directory: where to write it, and where its state and runtime directories will be.
        cloud: whose endpoints it names.
        tls: over TLS, trusting the cloud's own CA, instead of plain HTTP.
        node: more lines for [node].
        ecr: more lines for [ecr].
        gcr: more lines for [gcr]; None for no such section.
        grants: its grants.
    """
    endpoints = cloud.endpoints
    if tls:
        node += f'\nca_bundle = "{endpoints.ca_file}"'
    services = {name: getattr(endpoints, f"{name}_tls" if tls else name) for name in SERVICES}
    path = directory / "config.toml"
    path.write_text(
        CONFIG.format(
            issuer=endpoints.issuer,
            imds=endpoints.imds,
            gmetadata=endpoints.gmetadata,
            directory=directory,
            node=node,
            ecr_more=ecr,
            gcr=""
            if gcr is None
            else GCR.format(audience=GOOGLE_AUDIENCE, provider=provider_name(), more=gcr, **services),
            grants=grants,
            **services,
        )
    )
    path.chmod(0o600)
    return path


def install(directory: Path, config: Path, python: str = sys.executable) -> Path:
    """Install the launchers with `pullpass install` and return `pullpass-ecr`."""
    subprocess.run(
        [python, "-m", "pullpass", "install", "--bin-dir", str(directory / "bin"), "--config", str(config)],
        check=True,
        capture_output=True,
    )
    return directory / "bin" / "pullpass-ecr"


def forget(launcher: Path) -> None:
    """Take the node back to before its first request: no approvals, no cache, no trail; the configuration stays."""
    for name in ("state", "run/cache", "run/intents"):
        shutil.rmtree(launcher.parent.parent / name, ignore_errors=True)


def ask(
    launcher: Path, raw: bytes, environment: dict[str, str] | None = None, timeout_s: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """Run a launcher as the kubelet does: a request on stdin, no arguments, from `/`."""
    return subprocess.run(
        [str(launcher)], input=raw, capture_output=True, env=environment or {}, cwd="/", check=False, timeout=timeout_s
    )
