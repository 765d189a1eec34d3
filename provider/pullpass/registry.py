"""Which registry an image lives in: the host gate of pullpass, and the kubelet's own pattern matcher."""

from __future__ import annotations

from typing import NamedTuple

ECR = "ecr"
ECR_PUBLIC = "ecr-public"
GCR = "gcr"


class Target(NamedTuple):
    """Where an image lives.

    Attributes:
        kind: `ECR`, `ECR_PUBLIC` or `GCR`.
        host: the registry host as in the request.
        repository: the path below the host, without tag and digest.
        account: the AWS account (12 digits), or "".
        region: the AWS region, or "".
        partition: the AWS partition, or "".
        fips: the host is a FIPS endpoint, so the API calls go to FIPS endpoints.
        dual_stack: the host is a dual-stack one, so the API calls go to dual-stack endpoints.
    """

    kind: str
    host: str
    repository: str
    account: str = ""
    region: str = ""
    partition: str = ""
    fips: bool = False
    dual_stack: bool = False

    @property
    def image(self) -> str:
        """Host and repository, as grants name it."""
        return f"{self.host}/{self.repository}"
