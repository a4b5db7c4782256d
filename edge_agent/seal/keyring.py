"""The keys of one gateway over the life of its chain: how far each one speaks, and who came after it.

A value: whoever learns of a rotation takes a new ring. The rule: an old key counts for nothing beyond the record in
which it was replaced (reference/formats.md §2.1).
"""

from collections.abc import Iterable, Sequence

from edge_agent.model.errors import TrustError
from edge_agent.seal.canonical import split
from edge_agent.seal.envelope import parts
from edge_agent.seal.keys import PublicKey
from edge_agent.seal.records import ROTATE, Rotation, rotation_of, unseal_rotation
from edge_agent.seal.squash import Stretch


class Keyring:
    """A gateway's public keys, oldest first (see keys.Verifier)."""

    def __init__(self, first: PublicKey, rotations: Sequence[Rotation] = ()) -> None:
        self.rotations = tuple(rotations)
        self.keys = (first, *(rotation.key for rotation in self.rotations))
        self._found = {key.keyid: key for key in self.keys}
        self._reach = {rotation.was.keyid: rotation.seq for rotation in self.rotations}

    @classmethod
    def around(cls, known: PublicKey, envelopes: bytes) -> "Keyring":
        """Return the ring that one of its keys and the rotating records, back to back and oldest first, prove.

        Of the records only those count that lead from the known key, forwards or backwards. Raises WireError or
        TrustError when one of them does not hold.
        """
        rows = split(envelopes)
        before: list[Rotation] = []
        oldest = known
        for row in reversed(rows):
            if _leads_from(row, oldest, 1):
                before.insert(0, unseal_rotation(row, oldest))
                oldest = before[0].was
        ring = cls(oldest)
        for rotation in before:
            ring = ring.turned(rotation)
        return ring.extended(rows)

    @property
    def newest(self) -> PublicKey:
        """The key that signs now."""
        return self.keys[-1]

    @property
    def keyid(self) -> str:
        """Name the newest key."""
        return self.newest.keyid

    def find(self, keyid: str) -> PublicKey | None:
        """Return the key of this name, or None when it is none of them."""
        return self._found.get(keyid)

    def check_reach(self, keyid: str, seq: int) -> None:
        """Check that the key of this name may speak of record `seq`. Raises TrustError."""
        reach = self._reach.get(keyid, seq)
        if seq > reach:
            raise TrustError(f"record {seq}: signed by key {keyid}, which was replaced in record {reach}")

    def extended(self, envelopes: Iterable[bytes]) -> "Keyring":
        """Return the ring after those of some rotating records that lead on from its newest key.

        Raises WireError or TrustError when one of them does not hold.
        """
        ring = self
        for envelope in envelopes:
            if _leads_from(envelope, ring.newest, 0):
                ring = ring.turned(unseal_rotation(envelope, ring.newest))
        return ring

    def after(self, stretch: Stretch) -> "Keyring":
        """Return the ring after a verified record. Raises TrustError when it contradicts what is known."""
        if stretch.first != stretch.last or all(told.entry.kind != ROTATE for told in stretch.audit):
            return self
        entries = [told.entry for told in stretch.audit]
        return self.turned(rotation_of(stretch.world_id, stretch.last, stretch.digests[-1], entries))

    def turned(self, rotation: Rotation) -> "Keyring":
        """Return the ring after a rotation whose signatures hold; itself when it knows that one.

        Raises TrustError when it contradicts what is known.
        """
        if any(each.digest == rotation.digest for each in self.rotations):
            return self
        where = f"record {rotation.seq}: a rotation from key {rotation.was.keyid} to {rotation.key.keyid}"
        if rotation.was.raw != self.newest.raw:
            raise TrustError(f"{where}, and the key that signs is {self.keyid}: a fork of the chain, or a stolen key")
        if rotation.key.keyid in self._found or any(rotation.seq <= each.seq for each in self.rotations):
            raise TrustError(f"{where}: back to an older key, or to an older record")
        return Keyring(self.keys[0], (*self.rotations, rotation))


def _leads_from(envelope: bytes, key: PublicKey, place: int) -> bool:
    signatures = parts(envelope, most=2)["signatures"]
    return len(signatures) > place and bool(signatures[place]["keyid"] == key.keyid)
