"""What a person gets who installs the package instead of using the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_every_profile_and_what_is_installed_and_nothing_else(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("edge_agent/**/*.py")}
    profiles = {f"edge_agent/firmware_profiles/{path.name}" for path in ROOT.glob("firmware_profiles/*.toml")}
    placed = {f"edge_agent/install/{path.name}" for path in ROOT.glob("reference/install/*")}
    assert profiles
    assert placed
    assert packed - {"edge_agent/py.typed"} == modules | profiles | placed


def test_an_installed_agent_finds_its_profiles_without_a_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    load = "from edge_agent.config import load_profile; print(load_profile('eastron-sdm630').name)"
    found = subprocess.run(
        [sys.executable, "-c", load], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (found.stdout, found.stderr) == ("eastron-sdm630\n", "")
