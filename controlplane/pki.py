"""The lab's own certificates: an authority, the API server's certificate, the administrator's credential, the
kubeconfig.

    authority --signs--> server certificate (all names and addresses of the API server)
              --signs--> client certificate (CN=kubernetes-admin, O=system:masters) --> kubeconfig

Elliptic keys (P-256): made in milliseconds. Nothing is written here: whoever calls decides where the texts
go.

Source: Kubernetes documentation "PKI certificates and requirements", "Organizing Cluster Access Using
kubeconfig Files".
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controlplane.yaml_text import dump

LIFETIME = timedelta(days=3650)
CLOCK_SKEW = timedelta(minutes=5)
ADMIN, MASTERS = "kubernetes-admin", "system:masters"


@dataclass(frozen=True)
class Credential:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str


def make_authority(name: str = "minipod-ca") -> Credential:
    """A new certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    builder = _builder(subject, subject, key.public_key()).add_extension(constraints, critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return _credential(
        builder.add_extension(_usage(signs=True), critical=True).sign(key, hashes.SHA256()), key
    )


def make_server(authority: Credential, hosts: Sequence[str]) -> Credential:
    """A server's certificate for these DNS names and addresses."""
    return _sign(authority, _name("kube-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH, hosts)


def make_client(authority: Credential, user: str = ADMIN, group: str = MASTERS) -> Credential:
    """A client's certificate for a user of a group."""
    return _sign(authority, _name(user, group), ExtendedKeyUsageOID.CLIENT_AUTH, ())


def server_context(authority: Credential, server: Credential) -> ssl.SSLContext:
    """TLS for the API server: shows `server`, accepts client certificates of `authority`, does not insist on
    one.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    load_credential(context, server)
    return context


def load_credential(context: ssl.SSLContext, credential: Credential) -> None:
    """Gives a context its certificate. The ssl module reads only files: one is made, closed to others, and
    removed at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "credential.pem"
        path.touch(mode=0o600)
        path.write_text(credential.key + credential.certificate)
        context.load_cert_chain(path)


def kubeconfig(server: str, authority: Credential, client: Credential, name: str = "minipod") -> str:
    """A kubeconfig for `server` (an https address) that carries the client's credential: keep it closed to
    others (0600).
    """
    cluster = {"server": server, "certificate-authority-data": _base64(authority.certificate)}
    user = {"client-certificate-data": _base64(client.certificate), "client-key-data": _base64(client.key)}
    return dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
            "current-context": name,
            "preferences": {},
        }
    )


def _sign(
    authority: Credential, subject: x509.Name, purpose: x509.ObjectIdentifier, hosts: Sequence[str]
) -> Credential:
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    issuer_key = serialization.load_pem_private_key(authority.key.encode(), password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key must be an elliptic one")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(subject, issuer.subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
        )
    return _credential(builder.sign(issuer_key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    moment = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - CLOCK_SKEW)
        .not_valid_after(moment + LIFETIME)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _credential(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credential:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Credential(certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode())


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
