"""The hosts of Google's registries, and the form of its service accounts.

Source: Google Cloud documentation, "Artifact Registry hosts", and docker-credential-gcr's list of registries.
"""

from __future__ import annotations

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_EMAIL_DOMAIN = ".gserviceaccount.com"


def is_google_host(host: str) -> bool:
    """Whether a host is one of Google's registries.

    `gcr.io` and one label before it, `LOCATION-docker.pkg.dev`, `docker.REGION.rep.pkg.dev`. Hosts of other formats
    (`LOCATION-python.pkg.dev`) hold no images.
    """
    if host == "gcr.io":
        return True
    if host.endswith(".gcr.io"):
        return _is_label(host[: -len(".gcr.io")])
    if host.endswith("-docker.pkg.dev"):
        return _is_label(host[: -len("-docker.pkg.dev")])
    if host.startswith("docker.") and host.endswith(".rep.pkg.dev"):
        return _is_label(host[len("docker.") : -len(".rep.pkg.dev")])
    return False


def is_service_account_email(text: str) -> bool:
    """Whether `text` is the e-mail address of a Google service account.

    The address becomes part of a URL, so its characters are a closed set. The lengths that Google sets for new accounts
    (6 to 30) are not enforced: accounts of Google's own making are shorter or longer.
    """
    name, _, domain = text.partition("@")
    if len(text) > 254 or not _is_label(name) or not domain.endswith(_EMAIL_DOMAIN):
        return False
    return all(_is_label(label) for label in domain.removesuffix(_EMAIL_DOMAIN).split("."))


def _is_label(text: str) -> bool:
    return 0 < len(text) <= 63 and _LOWER.issuperset(text) and text[0] != "-" and text[-1] != "-"
