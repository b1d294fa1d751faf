"""API keys, compared in a time that tells nothing of them.

What was sent and what is known are both hashed under a key that this process drew, so their
lengths and first letters are gone before `compare_digest` looks, and every key is looked at.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence

CHALLENGE = 'Bearer realm="zoo"'


class Keys:
    """The keys that let in; without any everybody is let in."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raise ValueError for a key that is empty or that a header cannot carry."""
        for key in keys:
            if not key or not key.isascii() or not key.isprintable() or " " in key:
                raise ValueError("an API key is one or more printable ASCII letters, no spaces")
        self.salt = secrets.token_bytes(32)
        self.known = [self.digest(key.encode()) for key in keys]

    def digest(self, key: bytes) -> bytes:
        """Hash a key under this process's own."""
        return hashlib.blake2b(key, key=self.salt, digest_size=32).digest()

    def let_in(self, authorization: bytes | None) -> bool:
        """Say whether the header `Authorization` carries a key that is known."""
        if not self.known:
            return True
        sent = self.digest(key_in(authorization or b""))
        found = False
        for known in self.known:  # all of them, wherever the right one stands
            found |= hmac.compare_digest(sent, known)
        return found


def key_in(authorization: bytes) -> bytes:
    """Give the key of `Bearer KEY`, and nothing of anything else."""
    scheme, _, key = authorization.partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else b""
