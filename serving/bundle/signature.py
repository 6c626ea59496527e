"""Signatures of bundles in the format of OpenSSF model-signing 1.0, with elliptic keys (P-256).

A signature is a Sigstore bundle without a certificate: a DSSE envelope around an in-toto statement that lists the
SHA-256 of each file. `model_signing verify key` checks it with nothing of ours, and this module with `cryptography`
alone, so that an endpoint needs no Sigstore client.

Formats: https://github.com/sigstore/model-transparency (docs/model_signing_format.md),
https://github.com/secure-systems-lab/dsse (the pre-authentication encoding that is signed).
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tidegate.serving.bundle.bundle_files import SIGNATURE
from tidegate.serving.errors import BundleError

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": [SIGNATURE],
}
SHORT = 16  # hexadecimal digits of a key's id


class PrivateKey:
    """A key that signs; `pem` is its PKCS #8."""

    def __init__(self, pem: bytes) -> None:
        """Load it; raises ValueError when it is no P-256 key without a password."""
        try:
            found = load_pem_private_key(pem, None)
        except (TypeError, UnsupportedAlgorithm) as error:  # a password is asked for, or another kind of key
            raise ValueError(f"it cannot be used ({error})") from error
        if not isinstance(found, ec.EllipticCurvePrivateKey) or not isinstance(found.curve, ec.SECP256R1):
            raise ValueError("it is no elliptic key on P-256")
        self._key = found
        self.pem = pem

    @staticmethod
    def new() -> "PrivateKey":
        """A new one."""
        made = ec.generate_private_key(ec.SECP256R1())
        return PrivateKey(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def public(self) -> "PublicKey":
        """Its other half."""
        return PublicKey(self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def sign(self, message: bytes) -> bytes:
        """ECDSA with SHA-256, DER."""
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))


class PublicKey:
    """A key that signatures are checked with; `pem` is its SubjectPublicKeyInfo."""

    def __init__(self, pem: bytes) -> None:
        """Load it; raises ValueError when it is no P-256 key."""
        try:
            found = load_pem_public_key(pem)
        except UnsupportedAlgorithm as error:
            raise ValueError(f"it cannot be used ({error})") from error
        if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, ec.SECP256R1):
            raise ValueError("it is no elliptic key on P-256")
        self._key = found
        self.pem = found.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.hint = hashlib.sha256(self.pem).hexdigest()

    @property
    def id(self) -> str:
        """The start of the SHA-256 of its PEM file, which a signature names."""
        return self.hint[:SHORT]

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is its other half's."""
        try:
            self._key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def sign(name: str, files: Mapping[str, str], key: PrivateKey) -> bytes:
    """The signature of a bundle, as its file holds it.

    Args:
        name: of what is signed; only told.
        files: SHA-256 (hex) by name.
        key: signs.
    """
    names = sorted(files, key=PurePosixPath)
    root = hashlib.sha256(b"".join(bytes.fromhex(files[known]) for known in names)).hexdigest()
    resources = [{"name": known, "algorithm": "sha256", "digest": files[known]} for known in names]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": SERIALIZATION, "resources": resources},
    }
    payload = json.dumps(statement, sort_keys=True).encode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(key.sign(_encoded(payload))).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": key.public.hint}, "tlogEntries": []}
    return json.dumps(
        {"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
    ).encode()


def verify(signature: bytes, files: Mapping[str, str], trusted: Iterable[PublicKey]) -> PublicKey:
    """Check that a trusted key has signed exactly these files.

    Args:
        signature: as `sign` made it, or `model_signing sign key`.
        files: SHA-256 (hex) by name.
        trusted: any of them may have signed.

    Returns:
        The key that has.

    Raises:
        BundleError: it is no signature, of no trusted key, wrong, or of other files.
    """
    hint, payload, signed = _opened(signature)
    keys = {key.hint: key for key in trusted}
    if hint not in keys:
        known = ", ".join(key.id for key in keys.values()) or "none"
        raise BundleError(
            f"the bundle was signed with key {hint[:SHORT]}; expected one that is trusted ({known}); "
            "trust it if you know whose it is: `tidegate signing trust FILE`"
        )
    if not keys[hint].has_signed(_encoded(payload), signed):
        raise _wrong(f"it was not made with key {hint[:SHORT]}, which it names")
    found = _files_in(payload)
    if found != files:
        changed = sorted(name for name in found.keys() | files.keys() if found.get(name) != files.get(name))
        raise _wrong(f"it is of other files than the bundle has: {', '.join(changed)}")
    return keys[hint]


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _opened(content: bytes) -> tuple[str, bytes, bytes]:
    """A signature's key, payload and signed bytes."""
    try:
        document = json.loads(content)
        if document["mediaType"] != MEDIA_TYPE or document["dsseEnvelope"]["payloadType"] != PAYLOAD_TYPE:
            raise _wrong("it is of another kind")
        (one,) = document["dsseEnvelope"]["signatures"]
        payload = base64.b64decode(document["dsseEnvelope"]["payload"], validate=True)
        hint = document["verificationMaterial"]["publicKey"]["hint"]
        return str(hint), payload, base64.b64decode(one["sig"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise _wrong("it cannot be read") from error


def _files_in(payload: bytes) -> dict[str, str]:
    """The files that a signed statement lists."""
    try:
        statement: Any = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise _wrong("it is of another kind")
        resources = statement["predicate"]["resources"]
        found = {str(one["name"]): str(one["digest"]) for one in resources if one["algorithm"] == "sha256"}
    except (ValueError, KeyError, TypeError) as error:
        raise _wrong("its statement cannot be read") from error
    if len(found) != len(resources):
        raise _wrong("it lists a file twice, or by another hash than SHA-256")
    return found


def _wrong(why: str) -> BundleError:
    return BundleError(
        f"the bundle's signature ({SIGNATURE}) is wrong: {why}; expected the one of its release; "
        "the bundle was damaged or tampered with: remove its folder, or build it again"
    )
