"""Canonical bytes, digests, chain, sign and verify. Pure: keys come in as arguments. Bytes: reference/formats.md."""
