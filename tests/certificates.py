"""An authority of certificates for tests, and what it issues."""

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


class Issued(NamedTuple):
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Put both into a folder as files of a Secret; the key comes first, as with two writes one must."""
        files = folder / "tls.crt", folder / "tls.key"
        for file, content in ((files[1], self.key), (files[0], self.certificate)):
            draft = file.with_suffix(".draft")
            draft.write_bytes(content)
            draft.replace(file)
        return files

    @property
    def serial(self) -> int:
        """The certificate's number."""
        return x509.load_pem_x509_certificate(self.certificate).serial_number


class Authority:
    """One that signs certificates with its own key."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's authority")])
        made = _builder(self._name, self._name, self._key.public_key(), 3650 * DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = made.add_extension(identifier, critical=False).add_extension(usage, critical=True)
        self._identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        self.pem = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, *names: str, valid: datetime.timedelta = 30 * DAY, rsa_key: bool = False) -> Issued:
        """A certificate for these names and addresses.

        Args:
            names: of hosts; IP addresses too.
            valid: from now on; below zero: it has ended.
            rsa_key: an RSA key, in place of one on a curve.
        """
        key = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        made = _builder(subject, self._name, key.public_key(), valid)
        made = made.add_extension(x509.SubjectAlternativeName([*map(_name, names)]), critical=False)
        made = made.add_extension(self._identifier, critical=False)
        certificate = made.sign(self._key, hashes.SHA256())
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        return Issued(certificate.public_bytes(pem), key.private_bytes(pem, *form))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    valid: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    made = made.serial_number(x509.random_serial_number())
    return made.not_valid_before(now + min(valid, 0 * DAY) - DAY).not_valid_after(now + valid)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
