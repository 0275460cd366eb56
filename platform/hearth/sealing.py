"""Secrets that are kept in a store which others can read: sealed with a key that lies in the data directory.

Rule: a sealed secret opens under the name it was sealed for and no other, so that nobody who can write to the store
can make one thing use the secret of another.
Source: AES-256-GCM, NIST SP 800-38D; the name is its additional data. Nonces are random: 2^32 secrets of one key is the
bound, and there are a few.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"


class BrokenSeal(Exception):
    """What was stored is no secret of ours: of another key, of another name, or changed."""


class Sealer:
    """Seals and opens with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a sealing key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)

    def __repr__(self) -> str:
        return "Sealer()"

    def seal(self, name: str, secret: str) -> bytes:
        """The secret as bytes that only this key opens, under this name."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), name.encode())

    def open(self, name: str, sealed: bytes) -> str:
        """The secret again. Raises BrokenSeal."""
        version, nonce, body = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if version != _VERSION:
            raise BrokenSeal("it was sealed by a newer version, or never")
        try:
            return self._cipher.decrypt(nonce, body, name.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise BrokenSeal("it was sealed with another key or for another name") from error
