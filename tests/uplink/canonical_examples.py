"""The examples in reference/world-state.md and reference/events.md, made by the encoders.

    python tests/uplink/canonical_examples.py     # writes them anew, between their marks

tests/uplink/test_canonical_forms.py fails when what stands there is not what the code makes.
"""

import json
import re
from pathlib import Path

from edge_agent.model.action import Plan, Ruling
from edge_agent.model.finding import Anomaly
from edge_agent.model.record import ZERO_DIGEST, Entry, Record
from edge_agent.model.site import ConditionSettings, TransitionSettings
from edge_agent.model.world import Entity, State, Variable, World
from edge_agent.seal.digest import state_digest
from edge_agent.seal.keys import PrivateKey
from edge_agent.seal.records import seal_record
from edge_agent.seal.squash import unseal_stretch
from edge_agent.twin.diff import UNREAD, diff
from edge_agent.uplink.formats.event import events
from edge_agent.uplink.formats.world_state import Retention, world_state

KEY = PrivateKey.from_seed(bytes(32))


def stretch_of(record):
    """Return a record as whoever reads the log gets it."""
    return unseal_stretch(seal_record(record, KEY).envelope, KEY.public)


REFERENCE = Path(__file__).parent.parent.parent / "reference"
_MARKED = re.compile(r"(<!-- example: (\S+) -->\n```json\n).*?(\n```)", re.DOTALL)
_WIDTH = 110

AT_MS = 1_764_000_000_000
PUMP, CABINET = "boiler-house:pump:pump", "boiler-house:cabinet:cabinet"
VARIABLES = {
    1: Variable(1, PUMP, "bearing_temp", "degC", "gauge", "pump"),
    2: Variable(2, PUMP, "running", None, "state", "pump"),
    3: Variable(3, CABINET, "humidity", "%", "gauge", "cabinet"),
}
DRIFT = Anomaly(
    "pump.bearing_temp/shift", 1, "shift", "medium", "bearing_temp rose from 61.0 to 71.5 degC since 15:59:00 UTC",
    AT_MS - 60_000, 0.93, 0.8, ("sensor:pump/bearing_temp",),
)  # fmt: skip
RULE = TransitionSettings(
    entity="pump",
    src="normal",
    dst="hot",
    when=ConditionSettings(variable="pump.bearing_temp", is_="above", value=70.0),
)
ADVICE = Ruling(
    Plan("look-at/pump.bearing_temp/shift", "look at pump: bearing_temp shifted", (), ("sensor:pump/bearing_temp",)),
    "recommend",
    "no policy: nothing is written",
)


def world(version, at_ms, pump, states, findings):
    entities = {
        PUMP: Entity(PUMP, "pump", ("hall 2",), ("source:pump",), {"serial": "4711"}, pump, (("located_in", CABINET),)),
        CABINET: Entity(CABINET, "cabinet", (), ("source:cabinet",)),
    }
    rows = {PUMP: {n: states[n] for n in (1, 2)}, CABINET: {3: states[3]}}
    return World("boiler-house", version, at_ms, entities, VARIABLES, rows, {f.id: f for f in findings})


BEFORE = world(
    16, AT_MS - 1000, "normal",
    {1: State(69.5, AT_MS - 1200, "good"), 2: State(value=True, at_ms=AT_MS - 86_400_000, quality="good"), 3: UNREAD}, (),
)  # fmt: skip
AFTER = world(
    17, AT_MS, "hot",
    {1: State(71.5, AT_MS - 200, "good"), 2: State(value=True, at_ms=AT_MS - 86_400_000, quality="bad:timeout"), 3: UNREAD},
    (DRIFT,),
)  # fmt: skip
RECORD = Record(
    world_id="boiler-house", seq=17, prev=ZERO_DIGEST, boot=bytes(range(16)), at_ms=AT_MS, mono_ms=90_061_000, synced=True,
    delta=diff(BEFORE, AFTER),
    audit=(
        Entry("turn", {"status": "drift_detected", "anomalies": 1, "severity": "medium", "risk": 0.37, "readings": 3}),
        Entry("transition", {
            "entity": PUMP, "from": "normal", "to": "hot", "cause": "pump.bearing_temp above 70.0 for 0 s: 71.5",
        }),
    ),
    state=state_digest(AFTER),
)  # fmt: skip


def examples():
    """Return the text of each example by its name."""
    whole = world_state(
        AFTER, state_digest(AFTER), state_digest(BEFORE),
        transitions=(RULE,), rulings=(ADVICE,), retention=Retention(256 * 1024 * 1024, 8),
    )  # fmt: skip
    told = {event["event_id"].split("/", 2)[2]: event for event in events(stretch_of(RECORD), BEFORE, AFTER)}
    good, turned_bad, missing, finding = whole["state_variables"]
    pieces = {
        "meta": whole["meta"],
        "entity": whole["entities"][1],
        "relationship": whole["relationships"][0],
        "state-variable": good,
        "turned-bad-value": turned_bad["value"],
        "missing-value": missing["value"],
        "finding-value": finding["value"],
        "transition-rule": whole["transition_rules"][0],
        "action": whole["actions"][0],
        "indexes": whole["indexes"],
        "retention": whole["retention_policy"],
        "reading-event": told["state/1"],
        "turned-bad-event": told["state/2"],
        "finding-event": told["finding/pump.bearing_temp/shift"],
        "audit-event": told["audit/1"],
    }
    return {name: shown(piece) for name, piece in pieces.items()}


def shown(value, indent=0):
    """Return JSON with each object or list on one line where it fits."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if indent + len(line) <= _WIDTH or not isinstance(value, (dict, list)):
        return line
    inner, pad = indent + 2, " " * (indent + 2)
    if isinstance(value, list):
        return "[\n" + ",\n".join(pad + shown(each, inner) for each in value) + "\n" + " " * indent + "]"
    rows = (f"{pad}{json.dumps(key)}: {shown(each, inner)}" for key, each in value.items())
    return "{\n" + ",\n".join(rows) + "\n" + " " * indent + "}"


def renewed(text):
    """Return a page with its examples as the code makes them now, and their names."""
    made, names = examples(), []

    def example(found):
        names.append(found[2])
        return found[1] + made[found[2]] + found[3]

    return _MARKED.sub(example, text), names


if __name__ == "__main__":
    for page in (REFERENCE / "world-state.md", REFERENCE / "events.md"):
        page.write_text(renewed(page.read_text("utf-8"))[0], "utf-8")
