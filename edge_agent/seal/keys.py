"""Ed25519 keys: made, read and checked. Bytes in, keys out; files are the store's business.

A key of small order is refused when it is read: the library verifies forged signatures under it.
"""

import hashlib
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge_agent.model.errors import TrustError
from edge_agent.seal.openssh import file_of, line_of, pair_of, public_of

# y coordinates of the points whose order divides 8, little-endian, sign bit cleared; three of them also in the
# form that is not reduced. tests/seal/test_keys.py computes them from the curve.
_SMALL_ORDER = frozenset(
    bytes.fromhex(y)
    for y in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


class Verifier(Protocol):
    """What a signature is verified by: one public key, or all keys of a gateway (seal/keyring.py)."""

    @property
    def keyid(self) -> str:
        """Name the newest key."""

    def find(self, keyid: str) -> "PublicKey | None":
        """Return the key of this name, or None when it is none of them."""

    def check_reach(self, keyid: str, seq: int) -> None:
        """Check that the key of this name may speak of record `seq`. Raises TrustError."""


class PublicKey:
    """A key that verifies. `keyid` names it in envelopes."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:  # noqa: PLR2004 - Ed25519, RFC 8032
            raise TrustError(f"public key: got {len(raw)} bytes, wanted 32")
        if raw[:31] + bytes([raw[31] & 0x7F]) in _SMALL_ORDER:
            raise TrustError("public key: got a key of small order, under which signatures can be forged")
        self.raw = raw
        self._keyid = hashlib.sha256(raw).hexdigest()[:16]
        self._key = Ed25519PublicKey.from_public_bytes(raw)

    @property
    def keyid(self) -> str:
        """Name this key, as envelopes do."""
        return self._keyid

    def find(self, keyid: str) -> "PublicKey | None":
        """Return this key when it has this name (see Verifier)."""
        return self if keyid == self._keyid else None

    def check_reach(self, keyid: str, seq: int) -> None:
        """Pass: of a single key nobody knows when it was replaced (see Verifier)."""

    @classmethod
    def from_text(cls, text: bytes) -> "PublicKey":
        """Read an OpenSSH line, `ssh-ed25519 AAAA… comment`. Raises TrustError."""
        raw = public_of(text)
        if raw is not None:
            return cls(raw)
        from cryptography.hazmat.primitives import serialization  # some megabytes, for what is not plain

        try:
            key = serialization.load_ssh_public_key(text)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise TrustError(
                "public key: got something else, wanted a line `ssh-ed25519 AAAA…` (a gateway's is its agent.pub, one's own ends in .pub)"
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise TrustError(f"public key: got {type(key).__name__}, wanted ssh-ed25519")
        return cls(key.public_bytes_raw())

    def to_text(self, comment: str) -> bytes:
        """Return the OpenSSH line of this key."""
        return line_of(self.raw) + b" " + comment.encode() + b"\n"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class UnknownKeyError(TrustError):
    """Signed by a key that is none of those known: a stranger's, or one that a gateway's key was replaced by since."""

    def __init__(self, keyid: str, wanted: str) -> None:
        super().__init__(f"envelope: signed by key {keyid[:80]!r}, wanted {wanted!r}")
        self.keyid = keyid


class EncryptedKeyError(TrustError):
    """A private key can only be read with its passphrase."""


class PrivateKey:
    """A key that signs."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def from_seed(cls, seed: bytes) -> "PrivateKey":
        """Make the key of 32 secret random bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_text(cls, text: bytes, passphrase: bytes | None = None) -> "PrivateKey":
        """Read an OpenSSH private key file. Raises EncryptedKeyError when it wants a passphrase, else TrustError."""
        pair = pair_of(text) if passphrase is None else None
        if pair is not None:
            own = cls.from_seed(pair[0])
            if own.public.raw != pair[1]:
                raise TrustError("private key: its two halves do not belong together, wanted the file as it was made")
            return own
        from cryptography.hazmat.primitives import serialization  # some megabytes, for what is not plain

        try:
            key = serialization.load_ssh_private_key(text, passphrase)
        except TypeError as error:
            raise EncryptedKeyError("private key: it has a passphrase, wanted one without") from error
        except UnsupportedAlgorithm as error:
            hint = "; one with a passphrase needs the library bcrypt: pip install bcrypt"
            raise TrustError(f"private key: {error}{hint}") from error
        except ValueError as error:
            hint = " (ssh-keygen -t ed25519 makes one)" if passphrase is None else " (is the passphrase right?)"
            raise TrustError(f"private key: wanted an OpenSSH ed25519 key: {error}{hint}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise TrustError(f"private key: got {type(key).__name__}, wanted ed25519")
        return cls(key)

    def to_text(self) -> bytes:
        """Return the OpenSSH private key file of this key."""
        return file_of(self._key.private_bytes_raw(), self.public.raw)

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message` (64 bytes)."""
        return self._key.sign(message)
