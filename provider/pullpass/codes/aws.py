"""The codes of what AWS, or a node's metadata service, says no with; most are chosen by `exchange.aws_errors`."""

from __future__ import annotations

from pullpass.codes import (
    BAD_INPUT,
    CLOUD_REFUSED,
    CLOUD_UNREACHABLE,
    DENIED,
    INVALID,
    REFUSED,
    TOKEN_AT_FAULT,
    UNREACHABLE,
)

# code -> (exit status, upstream class, what to do next unless the place that raises knows better)
CODES: dict[str, tuple[int, str, str]] = {
    # --- configuration
    "aws-container-credentials": (
        BAD_INPUT,
        "",
        "take the AWS_CONTAINER_* variables out of the kubelet's environment, or make them right",
    ),
    # --- policy
    "role-partition": (REFUSED, "", "name a role of the registry's own partition: credentials do not cross partitions"),
    "public-partition": (
        REFUSED,
        "",
        'name a role of partition aws, or answer such images by identity = "anonymous": both pull without a password',
    ),
    "repository-name": (REFUSED, "", "ECR repositories are named in lower-case letters, digits and . _ - /"),
    "session-policy": (REFUSED, "", 'STS takes 2048 characters: shorten the name, or set ecr.scope = "registry"'),
    # --- exchange: denied
    "aws-sts-denied": (
        CLOUD_REFUSED,
        DENIED,
        "check that the role exists and that its trust policy allows this issuer with exactly this `aud` and `sub`",
    ),
    "aws-ecr-denied": (
        CLOUD_REFUSED,
        DENIED,
        "allow the role ecr:GetAuthorizationToken on `*`, and check service control policies and endpoint policies",
    ),
    "aws-via-denied": (
        CLOUD_REFUSED,
        DENIED,
        "allow the first role sts:AssumeRole on the role of `via`, and name it in the trust policy of that role",
    ),
    "aws-public-denied": (
        CLOUD_REFUSED,
        DENIED,
        "allow the role ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken on `*`",
    ),
    "aws-metadata-denied": (
        CLOUD_REFUSED,
        DENIED,
        "turn the instance metadata service on; of a container credentials endpoint, see its authorization token",
    ),
    "aws-node-role": (
        CLOUD_REFUSED,
        DENIED,
        "give the instance a profile with a role that EC2 may assume, or this image a grant with another identity",
    ),
    # --- exchange: token
    "aws-token-expired": (
        CLOUD_REFUSED,
        TOKEN_AT_FAULT,
        "the next pull brings a new token; if this repeats, check the clocks of this node and of the API server",
    ),
    "aws-token-rejected": (
        CLOUD_REFUSED,
        TOKEN_AT_FAULT,
        "compare the IAM OIDC provider's URL and audience with the token's `iss`, `aud` and keys with the cluster's",
    ),
    "aws-claim-rejected": (CLOUD_REFUSED, TOKEN_AT_FAULT, "the message names the claim that the issuer did not accept"),
    # --- exchange: unreachable
    "aws-issuer-unreachable": (
        UNREACHABLE,
        CLOUD_UNREACHABLE,
        "make the issuer's discovery document and keys reachable for STS over public HTTPS",
    ),
    "aws-metadata-unreachable": (
        UNREACHABLE,
        CLOUD_UNREACHABLE,
        "the identity `node` needs a node that has one; on EC2 set the metadata hop limit to 2 where a container asks",
    ),
    # --- exchange: invalid
    "aws-metadata-foreign": (
        CLOUD_REFUSED,
        INVALID,
        "something other than the node's metadata service, version 2, answers there: see node.aws_metadata",
    ),
    "aws-policy-too-large": (
        CLOUD_REFUSED,
        INVALID,
        'shorten the role\'s session tags or the repository name, or set ecr.scope = "registry"',
    ),
    "aws-policy-malformed": (CLOUD_REFUSED, INVALID, "this is a defect of pullpass: please report it with this line"),
    "aws-region-disabled": (
        CLOUD_REFUSED,
        INVALID,
        "activate STS for that region in the role's account, or set ecr.sts_endpoint to one that is active",
    ),
    "aws-request-invalid": (
        CLOUD_REFUSED,
        INVALID,
        "if the message is about the duration, lower ecr.session_duration or raise the role's maximum",
    ),
    "aws-session-rejected": (
        CLOUD_REFUSED,
        INVALID,
        "check this node's clock, and that the region is enabled for the role's account",
    ),
    "aws-refused": (CLOUD_REFUSED, INVALID, "the message says what AWS did not accept"),
}
