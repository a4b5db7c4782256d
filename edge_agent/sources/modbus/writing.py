"""What a write to a Modbus point may be, and what it is on the wire."""

from edge_agent.model.checked import shown
from edge_agent.model.errors import TrustError
from edge_agent.model.profile import RegisterPoint, WriteRule
from edge_agent.model.reading import Value
from edge_agent.sources.modbus.wire import write_request
from edge_agent.twin.codec import encode


def allowed(point: RegisterPoint, value: Value, hold_s: float | None, where: str) -> WriteRule:
    """Return the rule by which a value may be written. Raises TrustError when it may not."""
    rule = point.write
    if rule is None or point.function not in (1, 3):
        raise TrustError(f"{where}: got a write to a point that its profile does not make writable")
    number: Value = value
    if point.enum:
        number = next((int(raw) for raw, name in point.enum.items() if name == value), None)
    if number is None or isinstance(number, str):
        low, high = rule.range
        raise TrustError(f"{where}: got {shown(value)}, wanted {low:g} to {high:g}")
    refusal = rule.refusal(number)
    if refusal:
        raise TrustError(f"{where}: {refusal}")
    reverts = rule.reverts
    if hold_s is None:
        if reverts is not None and reverts.always:
            raise TrustError(f"{where}: got a write for ever, wanted one that says how long it shall hold")
    elif reverts is None or reverts.by == "message" or (reverts.by == "pulse" and value is not True):
        raise TrustError(f"{where}: got a write that shall hold for {hold_s:g} s, which the device cannot take back")
    elif not reverts.tick <= hold_s <= reverts.longest:
        raise TrustError(f"{where}: got a hold of {hold_s:g} s, wanted {reverts.tick:g} to {reverts.longest:g} s")
    return rule


def request(point: RegisterPoint, rule: WriteRule, value: Value, exponent: int | None, base: int, where: str) -> bytes:
    """Return the request that writes a value. Raises TrustError when the point cannot hold it."""
    try:
        registers = encode(point, value, exponent)
    except ValueError as error:
        raise TrustError(f"{where}: {error}") from error
    return registers_request(point, registers, base, rule.function)


def timer_request(timer: RegisterPoint, ticks: int, base: int, where: str) -> bytes:
    """Return the request that tells a device after how many ticks to take a write back. Raises TrustError."""
    try:
        registers = encode(timer, ticks)
    except ValueError as error:
        raise TrustError(f"{where}: {error}") from error
    return registers_request(timer, registers, base)


def registers_request(point: RegisterPoint, registers: list[int], base: int, function: int | None = None) -> bytes:
    """Return the request that writes registers, or the one bit; with 5, 6 or 16 unless the function is given."""
    if function is None:
        function = 5 if point.function == 1 else 6 if len(registers) == 1 else 16
    return write_request(function, point.address + base, registers)
