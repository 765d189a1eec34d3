"""Whom a connection trusts: the certificates of `node.ca_bundle`, or those of the system, and nothing else.

* The system's store is found where the distributions keep it. `SSL_CERT_FILE`, `SSLKEYLOGFILE` and every SDK's variable
  are ignored: whoever can set the environment of a node's process must not be able to read or redirect its tokens.
* Whoever can write the file decides who may pose as the cloud, so it is held to what the configuration itself is.
* OpenSSL is given the bytes that were looked at, not the path: it would wait for a pipe without an end, and by then
  another file may be there.
"""

from __future__ import annotations

import os
import ssl

from pullpass.errors import PullpassError, outside
from pullpass.store import files

# Debian and Alpine; Fedora and RHEL; SUSE; others. OpenSSL's own idea comes first, but an interpreter that was built
# elsewhere carries the paths of the machine that built it.
SYSTEM_STORES = (
    ssl.get_default_verify_paths().openssl_cafile,
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# The stores of distributions have a quarter to half a mebibyte.
LIMIT_BYTES = 4 * 1024 * 1024


def context(ca_bundle: str, stores: tuple[str, ...] = SYSTEM_STORES) -> ssl.SSLContext:
    """A context that trusts `ca_bundle`, or the system's store.

    Args:
        ca_bundle: path of a PEM file, or "" for the system's store.
        stores: where that may be; the first that is there is taken.

    Raises:
        PullpassError: `ca-bundle` or `openssl`.
    """
    path = ca_bundle or next(filter(os.path.isfile, stores), "")
    if not path:
        raise PullpassError("ca-bundle", "no store of CA certificates was found on this system")
    try:
        data, status = files.read_regular(path, LIMIT_BYTES, follow=True)
    except OSError as error:
        raise PullpassError("ca-bundle", f"{outside(path)}: {error.strerror}") from None
    files.check_trusted(path, status, "ca-bundle")
    made = empty()
    try:
        # Between certificates, names are written in any encoding; OpenSSL takes ASCII alone, and bytes for DER.
        made.load_verify_locations(cadata=data.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:  # ValueError: it is empty
        reason = getattr(error, "strerror", None) or str(error)
        raise PullpassError("ca-bundle", f"{outside(path)}: {outside(reason)}") from None
    return made


def empty() -> ssl.SSLContext:
    """A context that trusts nobody.

    Raises:
        PullpassError: `openssl`.
    """
    try:
        # Not `create_default_context`, which obeys SSLKEYLOGFILE, nor the default locations, which obey SSL_CERT_FILE.
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
    except (ssl.SSLError, ValueError) as error:
        source = outside(os.environ.get("OPENSSL_CONF", "")) or "the system's openssl.cnf"
        raise PullpassError("openssl", f"OpenSSL can't start with {source} ({outside(str(error), 128)})") from None
    return made
