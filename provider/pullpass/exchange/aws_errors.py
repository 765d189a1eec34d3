"""What AWS says no with, and what each of its codes means here.

Sources: STS API reference, AssumeRoleWithWebIdentity and AssumeRole, "Errors"; ECR and ECR Public API reference,
GetAuthorizationToken, "Errors"; every service's "Common Errors"; the service models in botocore.
"""

from __future__ import annotations

from pullpass.errors import PullpassError, outside

# Every service answers these in every account and region, some of them with status 400.
COMMON = {
    "Throttling": "cloud-throttled",
    "ThrottlingException": "cloud-throttled",
    "ThrottledException": "cloud-throttled",
    "ThrottleException": "cloud-throttled",
    "RequestThrottled": "cloud-throttled",
    "RequestThrottledException": "cloud-throttled",
    "RequestLimitExceeded": "cloud-throttled",
    "TooManyRequestsException": "cloud-throttled",
    "SlowDown": "cloud-throttled",
    "InternalFailure": "cloud-failing",
    "InternalError": "cloud-failing",
    "ServiceUnavailable": "cloud-failing",
    "RequestTimeout": "cloud-failing",
    "RequestTimeoutException": "cloud-failing",
    "ValidationError": "aws-request-invalid",
    "ValidationException": "aws-request-invalid",
    "InvalidParameterValue": "aws-request-invalid",
    "InvalidParameterCombination": "aws-request-invalid",
    "MissingParameter": "aws-request-invalid",
    "MalformedInput": "aws-request-invalid",
    "InvalidClientTokenId": "aws-session-rejected",
    "UnrecognizedClientException": "aws-session-rejected",
    "InvalidSignatureException": "aws-session-rejected",
    "SignatureDoesNotMatch": "aws-session-rejected",
    "IncompleteSignature": "aws-session-rejected",
    "IncompleteSignatureException": "aws-session-rejected",
    "MissingAuthenticationToken": "aws-session-rejected",
    "MissingAuthenticationTokenException": "aws-session-rejected",
    "RequestExpired": "aws-session-rejected",
    "OptInRequired": "aws-session-rejected",
}

# Either call that assumes a role.
ASSUMING = COMMON | {
    "PackedPolicyTooLarge": "aws-policy-too-large",
    "MalformedPolicyDocument": "aws-policy-malformed",
    "RegionDisabledException": "aws-region-disabled",
}
# Whatever is signed with the keys of a session.
SIGNED = {
    "ExpiredTokenException": "aws-session-rejected",
    "ExpiredToken": "aws-session-rejected",
}
# Either registry's call for a password.
PASSWORD = (
    COMMON
    | SIGNED
    | {
        "ServerException": "cloud-failing",
        "InvalidParameterException": "aws-request-invalid",
    }
)


def _denied(code: str) -> dict[str, str]:
    return dict.fromkeys(("AccessDenied", "AccessDeniedException", "NotAuthorized"), code)


# the call -> AWS's code -> ours
MEANINGS: dict[str, dict[str, str]] = {
    "sts:AssumeRoleWithWebIdentity": ASSUMING
    | _denied("aws-sts-denied")
    | {
        "ExpiredTokenException": "aws-token-expired",
        "ExpiredToken": "aws-token-expired",
        "InvalidIdentityToken": "aws-token-rejected",
        "IDPRejectedClaim": "aws-claim-rejected",
        "IDPCommunicationError": "aws-issuer-unreachable",
    },
    "sts:AssumeRole": ASSUMING | SIGNED | _denied("aws-via-denied"),
    "ecr:GetAuthorizationToken": PASSWORD | _denied("aws-ecr-denied"),
    "ecr-public:GetAuthorizationToken": PASSWORD | _denied("aws-public-denied"),
}

# (the call, our code) -> what to do next, where it is not what the code stands for elsewhere
HINTS = {
    # The duration is never more than any role allows: a session that was made by a session lives an hour at most.
    ("sts:AssumeRole", "aws-request-invalid"): "the message names the value: see the role that the grant's `via` names",
    # Nothing is asked of either but a password.
    ("ecr:GetAuthorizationToken", "aws-request-invalid"): (
        "the request has no parameters that could be wrong: see where ecr.ecr_endpoint, if it is set, leads"
    ),
    ("ecr-public:GetAuthorizationToken", "aws-request-invalid"): (
        "the request has no parameters that could be wrong: see where ecr.ecr_public_endpoint, if it is set, leads"
    ),
}
# All codes that are known here.
NAMES = frozenset(name for meanings in MEANINGS.values() for name in meanings)


def refusal(action: str, status: int, code: str, message: str, request_id: str) -> PullpassError:
    """The error for an answer with an error code of AWS.

    Args:
        action: the call, a key of `MEANINGS`.
        status: of HTTP.
        code: AWS's.
        message: AWS's, free of secrets.
        request_id: AWS's, or "".
    """
    meanings = MEANINGS[action]
    # An unknown code under a status that says "you may not": the cloud said no, whatever it calls it.
    unknown = meanings["AccessDenied"] if status in (401, 403) else "aws-refused"
    facts = f"{action}: {outside(code, 64)} (HTTP status {status})"
    if message:
        facts += f": {outside(message)}"
    if request_id:
        facts += f" (request {outside(request_id, 64)})"
    ours = meanings.get(code, unknown)
    return PullpassError(ours, facts, HINTS.get((action, ours)))
