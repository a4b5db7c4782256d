"""What is known of one unit on a bus: its blocks, its manners, and what it taught."""

from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.model.checked import as_type
from edge_agent.model.errors import Problem, WireError
from edge_agent.model.profile import BusLimits, RegisterPoint
from edge_agent.model.reading import GOOD, Value
from edge_agent.model.site import ModbusSettings
from edge_agent.sources import Poll
from edge_agent.sources.modbus.address import Address
from edge_agent.twin.bustime import (
    DAY_S,
    SERIAL_LATENCY_S,
    TCP_LATENCY_S,
    Load,
    answer_size,
    wire_bytes,
)
from edge_agent.twin.codec import Decoded
from edge_agent.twin.patience import Owed, Patience
from edge_agent.twin.planner import Block, Findings, Place, bisect, culprit, plan

_REQUEST_SIZE = 5
"""Function code, address and count."""
_WALK_REQUESTS = 24
"""Requests in which the chain of a SunSpec device is walked, for the deadline of it."""


class Device:
    """One source: a unit of the bus."""

    def __init__(
        self,
        name: str,
        settings: ModbusSettings,
        profile: str | None,
        limits: BusLimits,
        points: Sequence[RegisterPoint],
        address: Address | None,
        problems: list[Problem],
    ) -> None:
        self.name = name
        self.settings = settings
        self.unit = settings.unit
        self.limits = limits
        self.patience = Patience(limits.timeout)
        self.owed = Owed(limits.timeout)
        self.free_at = 0.0
        """In the time of the event loop: the end of the silence that the device asks for."""
        self.models: Mapping[int, int] | None = None
        """Where its SunSpec models begin, once the chain was walked."""
        self.firmware = ""
        self._profile = profile or name
        self._address = address or Address("tcp")
        self._found = Findings()
        self._lessons: dict[str, Findings] = {}
        self.blocks = plan(points, limits, f"sources.{name}", problems)
        self.points: dict[str, RegisterPoint] = {point.name: point for block in self.blocks for point in block.points}

    # --- polls

    def polls(self) -> dict[Poll, Block | None]:
        """Return what is to be asked, and the block behind it; None for the walk along the chain of models."""
        walk: dict[Poll, Block | None] = {}
        if any(point.model is not None for point in self.points.values()):
            walk[self._poll("SunSpec models", (), DAY_S, self._timeout_s() * _WALK_REQUESTS, identity=True)] = None
        blocks = {self._block_poll(block): block for block in self.blocks}
        return walk | dict(sorted(blocks.items(), key=lambda pair: not pair[0].identity))

    def _block_poll(self, block: Block) -> Poll:
        where = f"model {block.model} " if block.model is not None else ""
        return self._poll(
            f"fc{block.function} {where}{block.start}+{block.count}",
            tuple(point.name for point in block.points),
            self.settings.poll * block.every if block.every else DAY_S,
            self._timeout_s(block),
            identity=any(point.identity is not None for point in block.points),
        )

    def _poll(self, detail: str, points: tuple[str, ...], period_s: float, timeout_s: float, *, identity: bool) -> Poll:
        detail = f"{detail} unit {self.unit}"
        return Poll(self.name, str(self.unit), points, period_s, timeout_s, detail, identity)

    def _timeout_s(self, block: Block | None = None) -> float:
        """Return the longest that one request may take, with all the pauses that go before it."""
        wait_s = self.limits.pause + self.limits.timeout
        if self._address.numbered:
            return wait_s
        # A fault before it costs a pause, and one short request that brings the line back in step.
        sent = 0.0 if block is None else self.wire_s(_REQUEST_SIZE, answer_size(block))
        return 2 * wait_s + 2 * sent + 4 * self._address.line.quiet_s

    # --- the arithmetic of the bus

    def wire_s(self, request: int, answer: int) -> float:
        """Return how long two messages of so many bytes are on the wire."""
        if self._address.numbered:
            return 0.0
        sizes = wire_bytes(request, answer, ascii_=self._address.framing == "ascii")
        return sum(sizes) * self._address.line.char_s + 2 * self._address.line.silence_s

    def loads(self) -> list[Load]:
        """Return what its polls ask of the bus."""
        usual_s = TCP_LATENCY_S if self._address.numbered else SERIAL_LATENCY_S
        latency_s = self.limits.pause + (usual_s if self.limits.latency is None else self.limits.latency)
        return [
            Load(
                self.name,
                poll.detail,
                wire_bytes(_REQUEST_SIZE, answer_size(block), ascii_=self._address.framing == "ascii"),
                self.wire_s(_REQUEST_SIZE, answer_size(block)),
                latency_s,
                poll.period_s or DAY_S,
                self.limits.timeout,
            )
            for poll, block in self.polls().items()
            if block is not None
        ]

    # --- what it teaches

    def refused(self, block: Block) -> str:
        """Learn from a block with an illegal address; return what will be different from now on, or nothing."""
        if block not in self.blocks or culprit(block) in self._found.illegal:
            return ""
        cut = bisect(block)
        if cut is None:
            self._found = Findings(self._found.illegal | {culprit(block)}, frozenset())
            self._replan()
            return "the device does not have it; asked once a day from now on"
        self._found = self._found._replace(cuts=self._found.cuts | {cut})
        self._replan()
        return "from now on asked in two parts"

    def answered(self, block: Block, values: Sequence[Decoded]) -> bool:
        """Learn from a block that was answered; return whether its blocks are others now."""
        known = self._found
        self._found = known._replace(illegal=known.illegal - {culprit(block)})
        for point, (value, quality) in zip(block.points, values, strict=True):
            if point.identity == "firmware" and quality == GOOD and str(value) != self.firmware:
                self._runs(value)
        if self._found != known:
            self._replan()
        return self._found != known

    def _runs(self, firmware: Value) -> None:
        """Forget what another firmware taught, and recall what this one did."""
        self._lessons[self._key()] = self._found
        unknown = Findings() if self.firmware else self._found
        self.firmware = str(firmware)
        self._found = self._lessons.get(self._key(), unknown)

    def _replan(self) -> None:
        self.blocks = plan(list(self.points.values()), self.limits, f"sources.{self.name}", [], self._found)
        self._lessons[self._key()] = self._found

    def _key(self) -> str:
        return f"{self._address.bus} unit {self.unit} {self._profile} {self.firmware}"

    def lessons(self) -> dict[str, Any]:
        """Return what is worth keeping, as plain values: by device, profile and firmware."""
        return {
            key: {"illegal": sorted(found.illegal), "cuts": sorted(found.cuts)}
            for key, found in self._lessons.items()
            if found != Findings()
        }

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Take up what was learnt before. What cannot be read is forgotten: it is learnt again."""
        prefix = self._key()
        for key, lesson in kept.items():
            if key.startswith(prefix):
                try:
                    found = as_type(lesson, dict[str, list[Place]], "lessons")
                except WireError:
                    continue
                self._lessons[key] = Findings(frozenset(found.get("illegal", [])), frozenset(found.get("cuts", [])))
        self._found = self._lessons.get(prefix, Findings())
        if self._found != Findings():
            self._replan()
