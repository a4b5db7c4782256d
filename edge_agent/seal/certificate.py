"""Certificates, as far as a person must know of them: whose, and until when. Verifying them is TLS's business."""

from typing import NamedTuple

from cryptography import x509

from edge_agent.model.errors import WireError

_PEM = b"-----BEGIN"


class Certificate(NamedTuple):
    """Until when a certificate holds."""

    subject: str
    not_after_ms: int
    """UTC milliseconds since 1970."""


def certificate(raw: bytes) -> Certificate:
    """Return what a certificate says, the first one of a chain. PEM or DER. Raises WireError."""
    try:
        found = x509.load_pem_x509_certificate(raw) if _PEM in raw else x509.load_der_x509_certificate(raw)
        subject, until = found.subject.rfc4514_string(), found.not_valid_after_utc
    except ValueError as error:
        raise WireError(f"certificate: got bytes that are none: {error}") from error
    return Certificate(subject, int(until.timestamp() * 1000))
