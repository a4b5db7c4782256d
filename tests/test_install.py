"""install.sh into a root of its own: what a technician relies on, seen from the files that are there afterwards."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WANTS = "etc/systemd/system/multi-user.target.wants/edge-agent.service"
OFFLINE = os.environ | {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_EXTRA_INDEX_URL": "", "PIP_RETRIES": "0"}


def install(*words, script=ROOT / "install.sh", **rest):
    return subprocess.run(
        ["bash", script, *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL, **rest
    )


def tree(folder):
    """Return every path below a folder with what would show a change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, status.st_size)
    return found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stick") / "wheels"
    made = install("bundle", folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def installed(bundle, tmp_path_factory):
    """A root with the service in it, installed from the stick alone, without a checkout and without a network."""
    root = tmp_path_factory.mktemp("root")
    done = install("--wheels", bundle, "--root", root, script=bundle / "install.sh", env=OFFLINE, umask=0o077)
    assert done.returncode == 0, done.stderr
    return root


def another_version(bundle, tmp_path, remark):
    """Copy a bundle so that it counts as another version."""
    folder = tmp_path / remark
    shutil.copytree(bundle, folder)
    with (folder / "requirements.txt").open("a") as file:
        file.write(f"# {remark}\n")
    return folder


def test_a_bundle_names_every_wheel_by_its_hash(bundle):
    lines = (bundle / "requirements.txt").read_text().splitlines()
    locked = {line.partition("--hash=sha256:")[2] for line in lines}
    assert locked == {hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in bundle.glob("*.whl")}
    assert [line for line in lines if line.startswith("edge_agent[cli]==")]


def test_a_bundle_that_cannot_be_made_says_how_it_is_done_without_a_network_and_leaves_nothing(tmp_path):
    done = install("bundle", tmp_path / "wheels", env=OFFLINE | {"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"})
    assert done.returncode == 1
    told = done.stderr.splitlines()[-3:]
    assert "To install without one:" in told[0]
    assert "bundle DIR" in told[1]
    assert "--wheels DIR" in told[2]
    assert not (tmp_path / "wheels").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk_leaves_nothing_half_installed(bundle, tmp_path):
    script = (
        'mount -t tmpfs -o size=40m tmpfs "$1" || exit 77;'
        ' bash "$2/install.sh" --wheels "$2" --root "$1"; code=$?; find "$1" ! -type d; exit $code'
    )
    words = ["unshare", "--mount", "bash", "-c", script, "-", tmp_path, bundle]
    done = subprocess.run(words, capture_output=True, text=True, env=OFFLINE, stdin=subprocess.DEVNULL)
    if "unshare" in done.stderr or done.returncode == 77:
        pytest.skip("nothing may be mounted here")
    assert done.returncode == 1, done.stderr
    assert "df -h" in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_what_is_installed_stands_in_its_places_and_accepts_its_configuration(installed):
    current = installed / "opt/edge-agent/current"
    config = installed / "etc/edge-agent/agent.toml"
    checked = subprocess.run(
        [current / "bin/python", current / "bin/edge-agent", "check", "--elsewhere", config],
        capture_output=True,
        text=True,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert (current / "bin/edge-agent").read_text().startswith(f"#!/opt/edge-agent/{current.readlink()}/bin/python")
    assert not list(current.glob("lib/python3*/site-packages/pip*")), "pip installs, and is not installed"
    assert (installed / "usr/local/bin/edge-agent").readlink() == Path("/opt/edge-agent/current/bin/edge-agent")
    unit = (installed / "etc/systemd/system/edge-agent.service").read_text()
    assert "ExecReload=/opt/edge-agent/current/bin/edge-agent reload /etc/edge-agent/agent.toml" in unit
    assert "edge-agent" in (installed / "usr/share/bash-completion/completions/edge-agent").read_text()
    assert (installed / "var/lib/edge-agent").stat().st_mode & 0o777 == 0o700
    assert (installed / "etc/edge-agent/credentials").stat().st_mode & 0o777 == 0o700
    assert config.stat().st_mode & 0o022 == 0
    assert not (installed / WANTS).is_symlink(), "it starts with the machine once somebody has said what to read"
    closed = [path for path in (installed / "opt").rglob("*") if not path.stat().st_mode & 0o004]
    assert closed == [], "the service's user reads it, whatever the umask of who installed it"


def test_a_second_time_changes_nothing(bundle, installed):
    before = tree(installed)
    again = install("--wheels", bundle, "--root", installed, env=OFFLINE)
    assert again.returncode == 0
    assert "nothing to change" in again.stderr
    assert tree(installed) == before


@pytest.mark.parametrize("name", ["tinydb", "pip"])
def test_a_wheel_that_was_altered_is_refused_and_what_was_installed_goes_on(bundle, installed, tmp_path, name):
    forged = another_version(bundle, tmp_path, "forged")
    wheel = next(forged.glob(f"{name}-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    before = tree(installed / "opt")
    done = install("--wheels", forged, "--root", installed, env=OFFLINE)
    assert done.returncode != 0
    assert name in done.stderr
    assert "HASH" in done.stderr.upper()
    left = tree(installed / "opt")
    assert left.keys() == before.keys()


def test_a_version_that_refuses_the_configuration_is_not_switched_to_and_older_ones_go(bundle, installed, tmp_path):
    opt = installed / "opt/edge-agent"
    first = (opt / "current").readlink()
    config = installed / "etc/edge-agent/agent.toml"
    good = config.read_text()
    config.write_text(good.replace('poll = "1s"', 'poll = "fast"'))
    second = another_version(bundle, tmp_path, "second")
    refused = install("--wheels", second, "--root", installed, env=OFFLINE)
    assert refused.returncode == 1
    assert 'sources.meter.poll: got "fast"' in refused.stderr
    assert "goes on unchanged" in refused.stderr
    assert (opt / "current").readlink() == first
    config.write_text(good + "# mine\n")
    for version in (second, another_version(bundle, tmp_path, "third")):
        done = install("--wheels", version, "--root", installed, env=OFFLINE)
        assert done.returncode == 0, done.stderr
    kept = {path.name for path in opt.iterdir() if path.is_dir() and not path.is_symlink()}
    assert len(kept) == 2
    assert (installed / WANTS).is_symlink()
    assert (opt / "current").readlink().name in kept
    assert first.name not in kept
    assert config.read_text() == good + "# mine\n"


def test_uninstalling_leaves_configuration_keys_and_data(bundle, tmp_path):
    kept = {"etc/edge-agent/agent.toml": "mine", "var/lib/edge-agent/keys/agent.key": "secret"}
    gone = {"opt/edge-agent/current/bin/x", "etc/systemd/system/edge-agent.service", "usr/local/bin/edge-agent"}
    for name in kept | dict.fromkeys(gone, ""):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(kept.get(name, ""))
    assert install("uninstall", "--root", tmp_path).returncode == 0
    assert {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*") if p.is_file()} == kept


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--wheels", "/nowhere", "--root", "{tmp}"], 1, "wanted a folder made by"),
        (["--wheel", "x"], 2, "got --wheel, wanted --wheels DIR"),
        (["instal"], 2, "got the verb instal, wanted install"),
        (["bundle"], 2, "wanted: ./install.sh bundle DIR"),
        (["bundle", "{tmp}"], 2, "wanted a new or empty folder"),
    ],
)
def test_a_call_that_cannot_be_done_says_what_was_wanted(tmp_path, words, code, told):
    (tmp_path / "something").touch()
    done = install(*(word.format(tmp=tmp_path) for word in words))
    assert done.returncode == code
    assert told in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who is not")
def test_without_root_it_says_how_to_call_it():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        script = Path(shutil.copy(ROOT / "install.sh", folder))
        done = install(script=script, user=65534, group=65534, extra_groups=[])
    assert done.returncode == 2
    assert "sudo ./install.sh" in done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_the_unit_is_confined():
    unit = ROOT / "reference/install/edge-agent.service"
    found = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit], capture_output=True, text=True
    )
    exposure = re.search(r"Overall exposure level for edge-agent.service: ([\d.]+)", found.stdout)
    assert exposure is not None, found.stderr
    assert float(exposure[1]) <= 1.5
