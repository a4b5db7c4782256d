"""The plain OpenSSH forms of an Ed25519 key: a public line, and a key file without a passphrase.

RFC 4253, 6.6, and PROTOCOL.key of OpenSSH. A gateway's own files are of these forms, and read here. All others, and
whatever is wrong, are the library's business: it knows every form there is, and takes a megabyte for it.
"""

import base64
import binascii
import re

_KIND = b"ssh-ed25519"
_KEY_BYTES = 32
_LINE = re.compile(rb"ssh-ed25519 ([A-Za-z0-9+/=]+)(?: [^\r\n]*)?\n?")
_FILE = re.compile(rb"-----BEGIN OPENSSH PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END OPENSSH PRIVATE KEY-----\n?")
_UNENCRYPTED = b"openssh-key-v1\0\0\0\0\4none\0\0\0\4none\0\0\0\0\0\0\0\1"
"""Magic; names of cipher and key derivation; the latter's options; one key."""
_BLOCK = 8
"""What an unencrypted key is padded to."""
_LINE_BYTES = 70
"""As ssh-keygen breaks them."""


def line_of(public: bytes) -> bytes:
    """Return `ssh-ed25519 AAAA…`, without a comment, of 32 bytes."""
    return _KIND + b" " + base64.b64encode(_blob(public))


def public_of(line: bytes) -> bytes | None:
    """Return the 32 bytes of a public line, or None when it is not plainly one."""
    blob = _decoded(_LINE.fullmatch(line))
    return blob[-_KEY_BYTES:] if blob is not None and blob == _blob(blob[-_KEY_BYTES:]) else None


def pair_of(file: bytes) -> tuple[bytes, bytes] | None:
    """Return the secret and the public 32 bytes of a key file, or None when it is not plainly one without a passphrase.

    Whether one belongs to the other is not checked.
    """
    body = _decoded(_FILE.fullmatch(file))
    if body is None or not body.startswith(_UNENCRYPTED):
        return None
    blob, rest = _string(body[len(_UNENCRYPTED) :])
    secret, after = _string(rest)
    public = blob[-_KEY_BYTES:]
    twice, secret = secret[:8], secret[8:]
    pair, tail = _string(secret[len(_blob(public)) :])
    comment, padding = _string(tail)
    seed = pair[:_KEY_BYTES]
    whole = _blob(public) + _as_string(seed + public) + _as_string(comment) + padding
    sound = (
        len(seed) == _KEY_BYTES and blob == _blob(public) and twice[:4] == twice[4:] and secret == whole and not after
    )
    return (seed, public) if sound and len(padding) < _BLOCK and padding == bytes(range(1, len(padding) + 1)) else None


def file_of(seed: bytes, public: bytes) -> bytes:
    """Return the key file, without a passphrase and a comment, of the secret and the public 32 bytes."""
    # The same four bytes twice tell a right passphrase from a wrong one: where there is none, any will do.
    secret = public[:4] * 2 + _blob(public) + _as_string(seed + public) + _as_string(b"")
    secret += bytes(range(1, 1 + -len(secret) % _BLOCK))
    coded = base64.b64encode(_UNENCRYPTED + _as_string(_blob(public)) + _as_string(secret))
    lines = b"\n".join(coded[at : at + _LINE_BYTES] for at in range(0, len(coded), _LINE_BYTES))
    return b"-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n-----END OPENSSH PRIVATE KEY-----\n" % lines


def _blob(public: bytes) -> bytes:
    return _as_string(_KIND) + _as_string(public)


def _as_string(content: bytes) -> bytes:
    return len(content).to_bytes(4) + content


def _string(data: bytes) -> tuple[bytes, bytes]:
    """Return a string with its length in front, and what follows; whatever is missing is missing."""
    end = 4 + int.from_bytes(data[:4])
    return data[4:end], data[end:]


def _decoded(match: "re.Match[bytes] | None") -> bytes | None:
    if match is None:
        return None
    try:
        return base64.b64decode(match[1].replace(b"\n", b""), validate=True)
    except binascii.Error:
        return None
