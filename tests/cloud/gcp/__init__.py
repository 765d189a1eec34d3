"""Google's half of the local cloud: STS, IAM Credentials, Artifact Registry and the metadata server."""
