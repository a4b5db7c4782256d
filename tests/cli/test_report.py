"""The report: what stands on the page, that nothing on it is loaded, run or believed, and how a browser shows it."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from folders import HOSTILE, story

from edge_agent.cli.main import main
from edge_agent.cli.markup import el
from edge_agent.cli.page import MOST_NAMED, page
from edge_agent.cli.report import told
from edge_agent.config import load
from edge_agent.judge.findings import alarms_of
from edge_agent.model.world import State, Variable, replace_world
from edge_agent.store.baselines import Baselines

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WANTED = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (apt-get install chromium)")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    return folder, story(folder)


@pytest.fixture(scope="module")
def report(gateway):
    folder, _ = gateway
    assert main(["report", str(folder / "agent.toml"), "-o", str(folder / "report.html")]) == 0
    return (folder / "report.html").read_text()


class Reader(HTMLParser):
    """The page as a parser sees it: its tags and attributes, and that each is closed in turn."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_loads_and_runs_nothing(report):
    page = Reader(report)
    assert report.startswith("<!doctype html>")
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    assert all(value.startswith("#") for name, value in page.attributes if name in ("href", "src"))
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not re.search(r"https?:|url\(|@import", report)
    assert ("name", "viewport") in page.attributes


def test_what_a_device_says_of_itself_is_text(report):
    page = Reader(report)
    assert "script" not in page.tags
    assert HOSTILE in " ".join(page.words)


def test_only_markup_is_markup_and_nothing_that_a_reader_would_obey_passes():
    assert (
        el("p", "<b>", el("i", "&"), title='"><script>')
        == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;<i>&amp;</i></p>'
    )
    told = el("p", "\x1b[31m\u202e\0")
    assert told.isprintable()
    assert "u202e" in told


def test_an_action_stands_with_who_approved_it_what_was_written_and_read_back_each_with_its_record(gateway, report):
    _, bench = gateway
    told = re.sub(r"\s+", " ", " ".join(Reader(report).words))
    action = bench.action
    (approval,) = [(r.seq, e.facts) for r in bench.ledger.records() for e in r.audit if e.kind == "approval"]
    assert action.stage == "verified"
    assert f"anna said approve with key {approval[1]['keyid']}" in told
    assert "the signature is the approver's, over this very plan" in told
    assert f"record:{approval[0]}" in told
    for record in bench.ledger.records():
        for entry in record.audit:
            if entry.kind == "action":
                assert f"record:{record.seq}" in told
                assert f"{entry.facts['move']} → {entry.facts['to']}: {entry.facts['reason']}" in told
    assert "meter.relay False True True" in told
    assert "wanted: 1 distinct, at least operator, within 60 s" in told


def test_an_approval_whose_signer_the_configuration_does_not_name_is_said_to_be_unverified(gateway, capsys):
    folder, _ = gateway
    assert main(["report", str(folder / "data")]) == 0
    told = capsys.readouterr().out
    assert "signature not verified here (keyid)" in told
    assert "Without the configuration nothing is known of what is usual" in told


def test_findings_values_risk_drift_and_the_proof_are_there(gateway, report):
    _, bench = gateway
    told = html.unescape(" ".join(Reader(report).words))
    world = bench.standing.world
    for finding in world.findings.values():
        assert finding.sentence in told
    assert world.findings
    assert "meter.volts: value, baseline and band" in told
    assert bench.standing.head.hex() in told
    assert "no agent is running here" in told
    assert f"records 1 to {world.version} in " in told
    assert f"{world.version} not known to be delivered" in told
    for word in ("risk now", "risk ahead", "values good", "wanted: 1 distinct"):
        assert word in told


def test_what_is_not_good_is_told_before_all_that_is_and_what_has_no_baseline_takes_no_room(gateway):
    folder, _ = gateway
    site = load(folder / "agent.toml")
    story, _ = told(folder / "data", site, 100)
    names = [f"input_{n:03}" for n in range(100)]
    meter = next(iter(story.world.entities))
    variables = {1000 + n: Variable(1000 + n, meter, name, None, "gauge", "meter") for n, name in enumerate(names)}
    states = {number: State(None, 0, "bad:timeout") for number in variables}
    every = story.world.states | {meter: story.world.states[meter] | states}
    world = replace_world(story.world, variables=story.world.variables | variables, states=every)
    unknown = story.pictures[0]._replace(found=story.pictures[0].found._replace(baseline=None, sentences=()))
    words = " ".join(Reader(page(story._replace(world=world, pictures=[*story.pictures, *[unknown] * 40]))).words)
    assert words.index("100 of meter: the device did not answer in time") < words.index("Who approved")
    assert "input_000, input_001" in words
    assert f"and {100 - MOST_NAMED} more" in words
    assert words.count("no opinion yet") == 0
    assert "Of 40 nothing is usual yet" in words


def test_a_page_that_cannot_be_written_is_said_with_what_to_do(gateway, capsys):
    folder, _ = gateway
    assert main(["report", str(folder / "agent.toml"), "-o", "/dev/null/report.html"]) == 74
    assert "give -o another place" in capsys.readouterr().err


def chromium(folder, *words):
    profile = folder / "profile"
    return subprocess.run(
        [CHROMIUM, *QUIET, f"--user-data-dir={profile}", *words], capture_output=True, text=True, timeout=240
    )


@WANTED
@pytest.mark.parametrize("width", [390, 1200])
def test_in_a_browser_it_fits_the_width_and_nothing_of_it_runs(report, tmp_path, width):
    # Without its own rule against scripts, so that escaping alone has to hold.
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report)
    assert bare != report
    probe = """<pre id="out"></pre><script>
    const f = document.getElementById("page"); let ran = 0; window.alert = () => ran++;
    f.onload = () => { const w = f.contentWindow, d = f.contentDocument, root = d.documentElement;
      const wide = [...d.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > root.clientWidth + 1);
      document.getElementById("out").textContent = JSON.stringify([root.scrollWidth - root.clientWidth, wide.length,
        ran, d.querySelectorAll("script").length, d.querySelectorAll("svg polyline").length > 3]); };</script>"""
    path = tmp_path / "phone.html"
    frame = f'<iframe id="page" style="width:{width}px;height:800px;border:0" srcdoc="{html.escape(bare)}"></iframe>'
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{frame}{probe}")
    done = chromium(tmp_path, "--dump-dom", path.as_uri())
    assert '<pre id="out">[0,0,0,0,true]</pre>' in done.stdout, done.stderr


@WANTED
def test_it_prints(gateway, report, tmp_path):
    folder, _ = gateway
    done = chromium(
        tmp_path,
        "--no-pdf-header-footer",
        f"--print-to-pdf={tmp_path / 'report.pdf'}",
        (folder / "report.html").as_uri(),
    )
    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF-"), done.stderr
    assert len(printed) > 10_000


def test_what_is_open_counts_as_of_the_newest_record_though_the_statistics_are_older(tmp_path, capsys):
    bench = story(tmp_path)
    Baselines(tmp_path / "data" / "baselines.json").save("{}")
    assert main(["drift", str(tmp_path / "agent.toml"), "meter.volts", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "ALARM"
    assert found["baseline"] is None
    assert found["why"][0] in [f.sentence for f in alarms_of(bench.standing.world.findings).values()]
