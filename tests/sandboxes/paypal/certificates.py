"""An authority of the sandbox's own, and the certificates that it issues to sign webhooks with."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAME = "messageverificationcerts.sandbox.test"
"""Whom the certificates are made out to; PayPal's own name would be a lie."""
KEY_BITS = 2048
LIFE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """Somebody who issues certificates; whether anybody believes them is another matter."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """To be trusted."""
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate with its key."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """To be served."""
        return self.certificate.public_bytes(Encoding.PEM)


@cache
def key_called(label: str) -> rsa.RSAPrivateKey:
    """A key by a label; making one takes long enough to do it once for all tests of a process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


@cache
def authority_called(label: str) -> Authority:
    """An authority that signs for itself."""
    key, name = key_called(f"authority {label}"), _name(f"Sandbox authority {label}")
    certificate = (
        _builder(name, name, key, datetime.now(UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, SHA256())
    )
    return Authority(key, certificate)


def signer_of(
    authority: Authority, *, name: str = NAME, issued: datetime | None = None, key_label: str = "signer"
) -> Signer:
    """A certificate for a name, good for a day from when it was issued: an hour ago unless told."""
    key = key_called(key_label)
    issuer = authority.certificate.subject
    issued = issued or datetime.now(UTC) - timedelta(hours=1)
    public = authority.key.public_key()
    certificate = (
        _builder(_name(name), issuer, key, issued)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(authority.key, SHA256())
    )
    return Signer(key, certificate)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, issued: datetime
) -> x509.CertificateBuilder:
    start = issued - LIFE if subject == issuer else issued
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(issued + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
