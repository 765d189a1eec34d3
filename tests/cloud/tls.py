"""The cloud's own certificate authority, and a certificate for whatever name a client asks for.

`mode` makes certificates wrong on purpose: `expired`, `wrong-name`, `unknown-ca` (signed by an authority that nobody
was told of). It holds for connections made after it was set.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
import threading
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
MODES = ("good", "expired", "wrong-name", "unknown-ca")
_DAY = dt.timedelta(days=1)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class _Issuing:
    """A certificate authority: key and certificate."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("local cloud of the tests")
        now = dt.datetime.now(dt.UTC)
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        public = self.key.public_key()
        self.certificate = (
            x509.CertificateBuilder(self.name, self.name, public, x509.random_serial_number(), now - _DAY, now + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def sign(self, key: ec.EllipticCurvePrivateKey, names: tuple[str, ...], *, expired: bool) -> bytes:
        end = dt.datetime.now(dt.UTC) + (-_DAY / 24 if expired else _DAY)
        builder = x509.CertificateBuilder(
            self.name, _name(names[0]), key.public_key(), x509.random_serial_number(), end - 2 * _DAY, end
        )
        certificate = (
            builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """Makes TLS contexts; certificates are made when first asked for and kept."""

    def __init__(self, directory: Path) -> None:
        """Make the authority; its certificate goes to `directory`/ca.pem."""
        self.mode = "good"
        self.ca_file = directory / "ca.pem"
        self._directory = directory
        self._known = _Issuing()
        self._unknown: _Issuing | None = None
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: dict[tuple[str, str], ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.ca_file.write_bytes(self._known.certificate.public_bytes(serialization.Encoding.PEM))

    def context(self) -> ssl.SSLContext:
        """A server's context for a new connection, in the present mode."""
        return self._context(self.mode, "")

    def _context(self, mode: str, name: str) -> ssl.SSLContext:
        with self._lock:
            if (mode, name) not in self._contexts:
                self._contexts[mode, name] = self._make(mode, name)
            return self._contexts[mode, name]

    def _make(self, mode: str, name: str) -> ssl.SSLContext:
        issuing = self._known
        if mode == "unknown-ca":
            issuing = self._unknown = self._unknown or _Issuing()
        names = ("wrong.example.test",) if mode == "wrong-name" else (name,) if name else LOOPBACK_NAMES
        file = self._directory / f"tls-{mode}-{len(self._contexts)}.pem"
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # The ssl module takes certificates from files only.
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(private + issuing.sign(self._key, names, expired=mode == "expired"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.sni_callback = lambda connection, asked, _: self._by_name(connection, asked, mode)
        return context

    def _by_name(self, connection: ssl.SSLObject | ssl.SSLSocket, asked: str | None, mode: str) -> None:
        if asked and asked not in LOOPBACK_NAMES:
            connection.context = self._context(mode, asked.lower())
