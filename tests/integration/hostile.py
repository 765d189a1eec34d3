"""Environments in which everything is against an exchange: the variables, profiles and files of both clouds' libraries.

What each of them does to the libraries themselves is held by `test_hostile_environment*.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cloud.gcp.world import provider_name

if TYPE_CHECKING:
    from pathlib import Path

    from integration.traps import Trap

JUNK = "[profile\nnot = an ini file"


def breaking(home: Path) -> dict[str, str]:
    """Variables each of which makes the SDK fail before or while it sends anything."""
    junk = home / "junk"
    return {
        "AWS_PROFILE": "",
        "AWS_DEFAULT_PROFILE": "no-such-profile",
        "AWS_CONFIG_FILE": str(junk),
        "AWS_SHARED_CREDENTIALS_FILE": str(junk),
        "AWS_MAX_ATTEMPTS": "many",
        "AWS_RETRY_MODE": "never",
        "AWS_DEFAULTS_MODE": "unheard-of",
        "AWS_STS_REGIONAL_ENDPOINTS": "neither",
        "SSLKEYLOGFILE": str(home / "no-such-directory" / "keys.log"),
    }


def redirecting(home: Path, trap: Trap) -> dict[str, str]:
    """Variables and files that send requests, or secrets, somewhere else, or say something to the other side."""
    dot_aws = home / ".aws"
    dot_aws.mkdir()
    profile = f"endpoint_url = {trap.url}\nservices = elsewhere\n"
    services = f"[services elsewhere]\nsts =\n  endpoint_url = {trap.url}\necr =\n  endpoint_url = {trap.url}\n"
    (dot_aws / "config").write_text(f"[default]\n{profile}use_fips_endpoint = true\n{services}")
    (dot_aws / "credentials").write_text(
        "[default]\naws_access_key_id = AKIAHOSTILE\naws_secret_access_key = hostile\n"
    )
    for directory in (dot_aws / "models", home / "data"):
        write_rules(directory, trap.url)
    return {
        "AWS_DATA_PATH": str(home / "data"),
        "AWS_ENDPOINT_URL": trap.url,
        "AWS_ENDPOINT_URL_STS": trap.url,
        "AWS_ENDPOINT_URL_ECR": trap.url,
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_ACCESS_KEY_ID": "AKIAHOSTILE",
        "AWS_SECRET_ACCESS_KEY": "hostile",
        "AWS_SESSION_TOKEN": "hostile",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/token",
        "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/hostile",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": trap.url,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": trap.url,
        "AWS_CSM_ENABLED": "true",
        "AWS_CSM_HOST": "127.0.0.1",
        "AWS_CSM_PORT": str(trap.port),
        "AWS_LAMBDA_FUNCTION_NAME": "hostile",
        "_X_AMZN_TRACE_ID": "Root=1-hostile",
        "AWS_EXECUTION_ENV": "hostile",
        "AWS_SDK_UA_APP_ID": "hostile",
        "AWS_DEFAULT_REGION": "no region",
        "AWS_REGION": "no region",
        "AWS_CA_BUNDLE": "/nonexistent/ca.pem",
        "REQUESTS_CA_BUNDLE": "/nonexistent/ca.pem",
        "BOTO_CONFIG": str(dot_aws / "credentials"),
        "BOTOCORE_EXPERIMENTAL__PLUGINS": "hostile=no_such_module_anywhere",
        # Not the SDK's, but as good: the endpoints are on loopback, where no proxy is asked.
        "HTTPS_PROXY": trap.url,
        "HTTP_PROXY": trap.url,
        "ALL_PROXY": trap.url,
        "SSL_CERT_FILE": "/nonexistent/ca.pem",
        "SSL_CERT_DIR": "/nonexistent",
    }


def write_rules(directory: Path, url: str) -> None:
    """A rule set that sends every request of STS and ECR to `url`."""
    rules = {
        "version": "1.0",
        "parameters": {
            "Region": {"builtIn": "AWS::Region", "required": False, "type": "string"},
            "UseDualStack": {"builtIn": "AWS::UseDualStack", "required": True, "default": False, "type": "boolean"},
            "UseFIPS": {"builtIn": "AWS::UseFIPS", "required": True, "default": False, "type": "boolean"},
            "Endpoint": {"builtIn": "SDK::Endpoint", "required": False, "type": "string"},
        },
        "rules": [
            {"conditions": [], "type": "endpoint", "endpoint": {"url": url, "properties": {}, "headers": {}}},
        ],
    }
    for service, version in (("sts", "2011-06-15"), ("ecr", "2015-09-21")):
        at = directory / service / version
        at.mkdir(parents=True)
        (at / "endpoint-rule-set-1.json").write_text(json.dumps(rules))


def node_environment(home: Path, trap: Trap) -> dict[str, str]:
    """All that is hostile but what names a container's endpoint, which is the node's own word."""
    environment = redirecting(home, trap) | breaking(home)
    del environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    return environment | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_EC2_METADATA_V1_DISABLED": "false"}


def write_google_files(home: Path, trap: Trap) -> Path:
    """Files in the places where the library and its transports look; returns the directory of gcloud's."""
    gcloud = home / ".config" / "gcloud"
    gcloud.mkdir(parents=True)
    external = {
        "type": "external_account",
        "audience": provider_name("hostile", "hostile"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{trap.url}/v1/token",
        "service_account_impersonation_url": f"{trap.url}/v1/projects/-/serviceAccounts/hostile:generateAccessToken",
        "credential_source": {"file": str(home / "hostile-token")},
    }
    (home / "hostile-token").write_text("hostile")
    for path in (home / "adc.json", gcloud / "application_default_credentials.json"):
        path.write_text(json.dumps(external))
    certificates = {"cert_configs": {"workload": {"cert_path": "/nonexistent", "key_path": "/nonexistent"}}}
    (gcloud / "certificate_config.json").write_text(json.dumps(certificates))
    for path in (home / ".netrc", home / "netrc"):
        path.write_text("default login hostile password hostile\n")
        path.chmod(0o600)
    return gcloud


def google(home: Path, trap: Trap) -> dict[str, str]:
    """Variables and files that name other credentials, other servers, other certificates, or somebody who listens."""
    gcloud = write_google_files(home, trap)
    place = trap.url.removeprefix("http://")
    return {
        "GOOGLE_APPLICATION_CREDENTIALS": str(home / "adc.json"),
        "CLOUDSDK_CONFIG": str(gcloud),
        "GOOGLE_CLOUD_PROJECT": "hostile",
        "GCLOUD_PROJECT": "hostile",
        "GOOGLE_CLOUD_QUOTA_PROJECT": "hostile",
        "GOOGLE_CLOUD_UNIVERSE_DOMAIN": "hostile.example",
        "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES": "1",
        "GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED": "true",
        "GOOGLE_API_USE_CLIENT_CERTIFICATE": "true",
        "GOOGLE_API_CERTIFICATE_CONFIG": str(gcloud / "certificate_config.json"),
        "CLOUDSDK_CONTEXT_AWARE_USE_CLIENT_CERTIFICATE": "true",
        "GOOGLE_API_USE_MTLS_ENDPOINT": "always",
        "GOOGLE_SDK_PYTHON_LOGGING_SCOPE": "google",
        "GCE_METADATA_HOST": place,
        "GCE_METADATA_ROOT": place,
        "GCE_METADATA_IP": place,
        "GCE_METADATA_MTLS_MODE": "strict",
        "GCE_METADATA_TIMEOUT": "forever",
        "NO_GCE_CHECK": "true",
        "NETRC": str(home / "netrc"),
        "HTTPS_PROXY": trap.url,
        "HTTP_PROXY": trap.url,
        "ALL_PROXY": trap.url,
        "REQUESTS_CA_BUNDLE": "/nonexistent/ca.pem",
        "CURL_CA_BUNDLE": "/nonexistent/ca.pem",
        "SSL_CERT_FILE": "/nonexistent/ca.pem",
        "SSL_CERT_DIR": "/nonexistent",
        "SSLKEYLOGFILE": str(home / "keys.log"),
    }


def everything(home: Path, trap: Trap, *, node: bool) -> dict[str, str]:
    """Both clouds' at once.

    Args:
        home: the home directory that the variables are for, which gets the files.
        trap: where whoever heeds them sends his requests.
        node: leave out what names a container's endpoint.
    """
    (home / "junk").write_text(JUNK)
    aws = node_environment(home, trap) if node else redirecting(home, trap) | breaking(home)
    return {"HOME": str(home), "PATH": "/usr/bin:/bin"} | aws | google(home, trap)
