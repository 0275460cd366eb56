"""Signs what topics send, the way SNS does: with a key of this installation, and a certificate that proves it.

Whoever verifies messages fetches the certificate from `SigningCertURL`, which is this Hearth and not AWS: verifiers
have to be told that host. The certificate is the same after every start, for it follows from the key alone.
Source: "Verifying the signatures of Amazon SNS messages", developer guide.
"""

import base64
import hashlib
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

_HASHES = {"1": SHA1, "2": SHA256}
_FROM, _UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)
REMEMBERED = 128
"""A message has many subscribers and one signature."""


def new_key() -> str:
    """A fresh private key, as PEM. Takes a tenth of a second."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class TopicSigner:
    """Signs with one key. Half a millisecond a signature."""

    def __init__(self, pem: str) -> None:
        key = load_pem_private_key(pem.encode(), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("the signing key of topics is no RSA key")
        self._key = key
        self.sign = lru_cache(REMEMBERED)(self._sign)
        self.certificate = _certificate(key)
        """PEM, for everybody."""

    def _sign(self, words: str, version: str) -> str:
        """The signature of these words, in base64, by the hash of the signature version."""
        signature = self._key.sign(words.encode(), padding.PKCS1v15(), _HASHES[version]())
        return base64.b64encode(signature).decode()


def _certificate(key: rsa.RSAPrivateKey) -> bytes:
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Hearth topics")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(hashlib.sha256(public).digest()[:16]) >> 1)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM)
