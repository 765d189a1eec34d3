"""The codes of what Google, or its metadata server, says no with; `exchange.gcp_errors` chooses among them."""

from __future__ import annotations

from pullpass.codes import CLOUD_REFUSED, CLOUD_UNREACHABLE, DENIED, INVALID, REFUSED, TOKEN_AT_FAULT, UNREACHABLE

# code -> (exit status, upstream class, what to do next unless the place that raises knows better)
CODES: dict[str, tuple[int, str, str]] = {
    # --- token: refused before anything is sent
    "gcp-token-algorithm": (
        REFUSED,
        "",
        "let the API server sign with an RSA key (RS256) or a P-256 key (ES256)",
    ),
    "gcp-token-age": (
        REFUSED,
        "",
        "Google takes tokens of at most 24 hours: compare this node's clock with the API server's",
    ),
    # --- exchange: denied
    "gcp-sts-denied": (
        CLOUD_REFUSED,
        DENIED,
        "check the organisation's policies and VPC Service Controls around the workload identity pool",
    ),
    "gcp-condition-rejected": (
        CLOUD_REFUSED,
        DENIED,
        "the provider's attribute condition does not accept this service account: change one of the two",
    ),
    "gcp-impersonation-denied": (
        CLOUD_REFUSED,
        DENIED,
        "grant the workload's principal roles/iam.workloadIdentityUser on that account; it must exist and be enabled",
    ),
    "gcp-node-denied": (
        CLOUD_REFUSED,
        DENIED,
        "give the node a service account, and see that nothing conceals its metadata server",
    ),
    # --- exchange: token
    "gcp-token-expired": (
        CLOUD_REFUSED,
        TOKEN_AT_FAULT,
        "the next pull brings a new token; if this repeats, compare the API server's clock with the real time",
    ),
    "gcp-audience-rejected": (
        CLOUD_REFUSED,
        TOKEN_AT_FAULT,
        "add gcr.audience, the kubelet's serviceAccountTokenAudience, to the provider's allowed audiences",
    ),
    "gcp-issuer-mismatch": (
        CLOUD_REFUSED,
        TOKEN_AT_FAULT,
        "the token's `iss`, the provider's issuer URI and the issuer of the discovery document must be the same text",
    ),
    "gcp-signature-rejected": (
        CLOUD_REFUSED,
        TOKEN_AT_FAULT,
        "if the API server's keys have changed, upload its current /openid/v1/jwks to the provider (--jwk-json-path)",
    ),
    "gcp-token-rejected": (
        CLOUD_REFUSED,
        TOKEN_AT_FAULT,
        "compare the provider's issuer, audiences, keys and attribute mapping with the token's claims",
    ),
    # --- exchange: unreachable
    "gcp-issuer-unreachable": (
        UNREACHABLE,
        CLOUD_UNREACHABLE,
        "make the issuer's discovery and keys public over HTTPS, or upload the current keys (--jwk-json-path)",
    ),
    # --- exchange: invalid
    "gcp-provider-invalid": (
        CLOUD_REFUSED,
        INVALID,
        "gcr.provider must be the provider's full name, with the project's number and not its id",
    ),
    "gcp-provider-unknown": (
        CLOUD_REFUSED,
        INVALID,
        "check gcr.provider: is it the project's number, and do pool and provider exist, enabled and not deleted?",
    ),
    "gcp-subject-too-long": (
        CLOUD_REFUSED,
        INVALID,
        "google.subject takes 127 bytes: map a shorter one, such as the service account's uid",
    ),
    "gcp-lifetime": (
        CLOUD_REFUSED,
        INVALID,
        "lower gcr.token_lifetime to 1h, or list the account in iam.allowServiceAccountCredentialLifetimeExtension",
    ),
    "gcp-api-disabled": (
        CLOUD_REFUSED,
        INVALID,
        "enable sts.googleapis.com and iamcredentials.googleapis.com in the project that the message names",
    ),
    "gcp-session-rejected": (
        CLOUD_REFUSED,
        INVALID,
        "STS gave a token that is not accepted: see that the pool is enabled, and where gcr.iam_credentials_url leads",
    ),
    "gcp-request-invalid": (
        CLOUD_REFUSED,
        INVALID,
        "the message names the value: gcr.oauth_scope and gcr.token_lifetime are those that can be chosen",
    ),
    "gcp-refused": (CLOUD_REFUSED, INVALID, "the message says what Google did not accept"),
    "gcp-metadata-foreign": (
        CLOUD_REFUSED,
        INVALID,
        "something else than Google's metadata server listens at node.google_metadata: see whose it is",
    ),
}
