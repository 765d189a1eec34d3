"""What AWS says no with, and what each of its codes means here.

Sources: STS API reference, AssumeRoleWithWebIdentity, "Errors"; ECR API reference, GetAuthorizationToken, "Errors", and
both services' "Common Errors"; the service models in botocore.
"""

from __future__ import annotations

from pullpass.errors import PullpassError, outside

# Both services answer these in every account and region, some of them with status 400.
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

# the call -> AWS's code -> ours
MEANINGS: dict[str, dict[str, str]] = {
    "sts:AssumeRoleWithWebIdentity": COMMON
    | {
        "AccessDenied": "aws-sts-denied",
        "AccessDeniedException": "aws-sts-denied",
        "ExpiredTokenException": "aws-token-expired",
        "ExpiredToken": "aws-token-expired",
        "InvalidIdentityToken": "aws-token-rejected",
        "IDPRejectedClaim": "aws-claim-rejected",
        "IDPCommunicationError": "aws-issuer-unreachable",
        "PackedPolicyTooLarge": "aws-policy-too-large",
        "MalformedPolicyDocument": "aws-policy-malformed",
        "RegionDisabledException": "aws-region-disabled",
    },
    "ecr:GetAuthorizationToken": COMMON
    | {
        "AccessDenied": "aws-ecr-denied",
        "AccessDeniedException": "aws-ecr-denied",
        "NotAuthorized": "aws-ecr-denied",
        "ServerException": "cloud-failing",
        "InvalidParameterException": "aws-request-invalid",
        "ExpiredTokenException": "aws-session-rejected",
        "ExpiredToken": "aws-session-rejected",
    },
}


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
    return PullpassError(meanings.get(code, unknown), facts)
