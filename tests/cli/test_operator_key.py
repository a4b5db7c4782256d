"""An operator's key file: read as ssh-keygen made it, its passphrase asked for on a terminal and nowhere else."""

import io
import os
import pty
import subprocess
import sys

import pytest

from edge_agent.cli.approve import load_operator_key
from edge_agent.model.errors import StoreError, TrustError

ASK = "from pathlib import Path; from edge_agent.cli.approve import load_operator_key as load; import sys; print('KEY', load(Path(sys.argv[1])).public.keyid)"


def make_key(folder, passphrase, kind="ed25519"):
    path = folder / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)
    return path


def test_a_key_as_ssh_keygen_makes_it_is_read(tmp_path):
    path = make_key(tmp_path, "")
    assert len(load_operator_key(path).public.keyid) == 16


def test_other_keys_and_other_files_are_refused_in_words(tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        load_operator_key(tmp_path / "nothing")
    with pytest.raises(TrustError, match="wanted ed25519"):
        load_operator_key(make_key(tmp_path, "", "ecdsa"))
    (tmp_path / "id").write_text("no key")
    with pytest.raises(TrustError, match="wanted an OpenSSH ed25519 key"):
        load_operator_key(tmp_path / "id")


def test_without_a_terminal_no_passphrase_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(TrustError, match="no terminal to ask for it on"):
        load_operator_key(make_key(tmp_path, "secret"))


def test_the_passphrase_is_asked_for_on_the_terminal(tmp_path):
    path = make_key(tmp_path, "secret")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", ASK, str(path)])
    said = b""
    while b"passphrase of" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"secret\n")
    while b"KEY " not in said:
        said += os.read(terminal, 1000)
    assert b"secret" not in said
    os.waitpid(pid, 0)
    os.close(terminal)
