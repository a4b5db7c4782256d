"""What the mirror has confirmed of our chain: receipts from the `ack` topic, judged in the order of formats.md §6.1.

Whoever can publish on a broker can write there, so nothing counts that the mirror's key did not sign for a record
of ours. What is passed over is counted by its reason; that upstream holds another chain than ours is also told.
"""

import logging
from collections import Counter, deque
from typing import Protocol

from edge_agent.model.record import Entry
from edge_agent.mqtt import Message
from edge_agent.seal.keys import PublicKey
from edge_agent.seal.receipts import MAX_RECEIPT_BYTES, Receipt, opened_receipt
from edge_agent.uplink.rate import Rate

_AT_ONCE, _PER_S = 10, 4.0
"""A mirror sends one a second; a signature takes 6 ms to verify on a slow board."""
_TOLD = {
    "beyond": "upstream holds record {}, which is beyond our newest: an older image of this gateway was restored",
    "fork": "upstream holds another record {} than ours: a fork of the chain",
}

_log = logging.getLogger(__name__)


class Chain(Protocol):
    """What is asked of our own chain."""

    @property
    def head_seq(self) -> int:
        """The newest record; 0 before the first."""

    def digest_of(self, seq: int) -> bytes | None:
        """Return the digest of a record; None when the log does not know it any more."""


class Receipts:
    """The receipts of one mirror for one gateway, since this process started."""

    def __init__(self, world_id: str, key: PublicKey, chain: Chain, now_s: float) -> None:
        self.last: Receipt | None = None
        """The newest that holds: upstream holds our world as of this record."""
        self.fault = ""
        """"beyond" or "fork" since the mirror signed what is not ours; empty again when it signed a later record of
        ours. An earlier one may be a replay."""
        self.counts: Counter[str] = Counter()
        """`taken`, `earlier` (of a stretch apart from the present), and why others were not."""
        self._world_id = world_id
        self.key = key
        self._chain = chain
        self._rate = Rate(_AT_ONCE, _PER_S, now_s)
        self._fault_seq = 0
        self._notes: deque[Entry] = deque(maxlen=len(_TOLD))

    def confirms(self, seq: int) -> bool:
        """Whether upstream has verified our chain up to record `seq` or further, and holds no other than ours.

        With the number of this run's `start` record: whether upstream knows this run, so that no older image of
        the gateway was restored. Nothing may be written to a device before that.
        """
        return self.last is not None and self.last.seq >= seq and not self.fault

    def take(self, message: Message, now_s: float) -> Receipt | None:
        """Judge a message of the `ack` topic; return the receipt when it holds and says more than those before."""
        found = self._judged(message, now_s)
        if not isinstance(found, Receipt):
            self.counts[found] += 1
            return None
        if self._is_earlier(found):
            self.counts["earlier"] += 1
            return found
        self.counts["taken"] += 1
        self.last, self.fault, self._fault_seq = found, "", 0
        return found

    def take_notes(self) -> list[Entry]:
        """Return what must be said in the audit trail since the last call."""
        notes = list(self._notes)
        self._notes.clear()
        return notes

    def _judged(self, message: Message, now_s: float) -> Receipt | str:
        if message.retain:
            return "retained"
        if len(message.payload) > MAX_RECEIPT_BYTES:
            return "size"
        if not self._rate.allows(now_s):
            return "rate"
        found = opened_receipt(message.payload, self.key)
        if not isinstance(found, Receipt):
            return found
        if found.world_id != self._world_id:
            return "world"
        refusal = self._against_ours(found)
        if refusal in _TOLD:
            self._tell(refusal, found)
        return refusal or found

    def _against_ours(self, receipt: Receipt) -> str:
        if receipt.seq > self._chain.head_seq:
            return "beyond"
        ours = self._chain.digest_of(receipt.seq)
        if ours is None:
            return "unknown"
        if ours != receipt.head:
            return "fork"
        newest = max(self.last.seq if self.last else 0, self._fault_seq)
        return "repeated" if receipt.seq <= newest and not self._reaches_back(receipt) else ""

    def _reaches_back(self, receipt: Receipt) -> bool:
        """Whether it is for records before those that the newest is for: a mirror that began anew catches up."""
        return self.last is not None and not self.fault and receipt.first < self.last.first

    def _is_earlier(self, receipt: Receipt) -> bool:
        return self.last is not None and receipt.seq < self.last.seq

    def _tell(self, fault: str, receipt: Receipt) -> None:
        """Say once, until a receipt holds again, that upstream does not follow us; the mirror will repeat it."""
        self._fault_seq = max(self._fault_seq, receipt.seq)
        if fault == self.fault:
            return
        self.fault = fault
        _log.error("mirror: %s", _TOLD[fault].format(receipt.seq))
        self._notes.append(Entry("receipt", {"fault": fault, "seq": receipt.seq, "head": receipt.head.hex()}))
