"""Configuration and request values for unit tests, each with every field that a test does not care about filled in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pullpass import registry
from pullpass.approvals import APPROVED, Approval, Repository
from pullpass.config import Alias, ApprovalTimes, Audit, Config, Ecr, Gcr, Grant, Node, Paths
from pullpass.identity import Subject
from pullpass.registry import Target
from support import AUDIENCE, ISSUER, NOW_S

if TYPE_CHECKING:
    from pathlib import Path

HOST = "111122223333.dkr.ecr.us-west-2.amazonaws.com"
IMAGE = f"{HOST}/team-a/app"
ROLE = "arn:aws:iam::111122223333:role/pull-team-a"


def make_grant(**fields: Any) -> Grant:
    """A grant of `ROLE` for team-a's images to all of team-a's service accounts."""
    values: dict[str, Any] = {
        "name": "team images",
        "service_accounts": ("team-a/*",),
        "images": (f"{HOST}/team-a/**",),
        "node": False,
        "identity": ROLE,
        "annotations": (),
        "allow": (),
        "via": "",
        "pull_through": False,
    }
    return Grant(**(values | fields))


def make_ecr(**fields: Any) -> Ecr:
    """The section [ecr] with its defaults."""
    values: dict[str, Any] = {
        "audience": AUDIENCE,
        "scope": "repository",
        "session_duration_s": 3600,
        "sts_endpoint": "",
        "ecr_endpoint": "",
        "ecr_public_endpoint": "",
        "aliases": (),
    }
    return Ecr(**(values | fields))


def make_alias(**fields: Any) -> Alias:
    """A name of one's own in front of ECR."""
    values = {"host": "images.example.com", "account": "111122223333", "region": "us-west-2"}
    return Alias(**(values | fields))


def make_gcr(**fields: Any) -> Gcr:
    """The section [gcr] with its defaults."""
    provider = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/nodes/providers/prod-1"
    values: dict[str, Any] = {
        "audience": provider,
        "provider": provider,
        "oauth_scope": "https://www.googleapis.com/auth/cloud-platform",
        "token_url": "",
        "iam_credentials_url": "",
        "universe_domain": "googleapis.com",
        "token_lifetime_s": 3600,
        "hosts": (),
    }
    return Gcr(**(values | fields))


def make_config(*grants: Grant, **fields: Any) -> Config:
    """A configuration with these grants, or with `make_grant()` when there are none."""
    values: dict[str, Any] = {
        "node": Node(
            cluster="prod-1",
            issuers=(ISSUER,),
            jwks="",
            deadline_s=45.0,
            ca_bundle="",
            aws_metadata="http://169.254.169.254",
            google_metadata="http://169.254.169.254",
        ),
        # Nothing can be made there, whoever runs the tests: one that serves requests names a directory of its own.
        "paths": Paths(state="/dev/null/state", runtime="/dev/null/runtime", kubelet="/dev/null/kubelet"),
        "approval": ApprovalTimes(
            max_age_s=3600.0, recheck_s=600.0, margin_s=120.0, min_life_s=30.0, outage_s=14400.0, denied_for_s=30.0
        ),
        "unmatched": "refuse",
        "audit": Audit(keep_s=90 * 86400.0, when_full="refuse"),
        "ecr": make_ecr(),
        "gcr": make_gcr(),
        "grants": grants or (make_grant(),),
    }
    return Config(**(values | fields))


def make_paths(directory: Path) -> Paths:
    """Directories below one that a test owns."""
    return Paths(*(str(directory / name) for name in ("state", "runtime", "kubelet")))


def make_target(**fields: Any) -> Target:
    """The repository `IMAGE`."""
    values: dict[str, Any] = {
        "kind": registry.ECR,
        "host": HOST,
        "repository": "team-a/app",
        "account": "111122223333",
        "region": "us-west-2",
        "partition": "aws",
    }
    return Target(**(values | fields))


def make_subject(**fields: Any) -> Subject:
    """The service account team-a/web."""
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "namespace": "team-a",
        "service_account": "web",
        "uid": "c1b8e1a4-52c4-4d6e-b7a0-2f5f7e0d1a33",
        "pod": "web-7c9d",
        "node": "node-1",
        "audiences": (AUDIENCE,),
        "expires_s": NOW_S + 3600,
        "jti": "5a1c1f5e-9d2b-4a53-8a4c-6a0d3a3f2f10",
    }
    return Subject(**(values | fields))


def make_approval(**fields: Any) -> Approval:
    """The approval of `make_subject` for `IMAGE`, as an exchange at `NOW_S` made it."""
    values: dict[str, Any] = {
        "key": "0123456789abcdef" * 4,
        "state": APPROVED,
        "cluster": "prod-1",
        "issuer": ISSUER,
        "namespace": "team-a",
        "service_account": "web",
        "uid": "c1b8e1a4-52c4-4d6e-b7a0-2f5f7e0d1a33",
        "identity": ROLE,
        "opens": "ecr:aws:111122223333:us-west-2:team-a/app",
        "credential_hash": "a1" * 32,
        "registry_expires_s": NOW_S + 12 * 3600,
        "session_expires_s": NOW_S + 3600,
        "first_approved_s": NOW_S,
        "last_validated_s": NOW_S,
        "expires_s": NOW_S + 3600,
        "repositories": {IMAGE: Repository(NOW_S, "team images")},
        "token_hash": "b2" * 32,
        "jti": "5a1c1f5e-9d2b-4a53-8a4c-6a0d3a3f2f10",
        "pod": "web-7c9d",
        "token_expires_s": NOW_S + 3600,
        "principal": "arn:aws:sts::111122223333:assumed-role/pull-team-a/prod-1",
        "access_key_id": "ASIAEXAMPLE",
        "request_ids": ("request-1",),
    }
    return Approval(**(values | fields))


def make_request(token: str | None = None, image: str = IMAGE, annotations: dict[str, str] | None = None) -> bytes:
    """A request as the kubelet writes it."""
    document: dict[str, Any] = {
        "kind": "CredentialProviderRequest",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "image": image,
    }
    if token:
        document["serviceAccountToken"] = token
    if annotations:
        document["serviceAccountAnnotations"] = annotations
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
