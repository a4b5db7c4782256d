import base64
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from worlds import KEY, OTHER_KEY

from edge_agent.model.errors import TrustError
from edge_agent.seal.keys import _SMALL_ORDER, PrivateKey, PublicKey
from edge_agent.seal.openssh import line_of, pair_of, public_of

# Edwards25519, RFC 8032 section 5.1: enough of it to tell a point whose order divides 8.
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
NEUTRAL = (0, 1)


def add(one, other):
    (x1, y1), (x2, y2) = one, other
    cross = D * x1 * x2 * y1 * y2
    return (
        (x1 * y2 + x2 * y1) * pow(1 + cross, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - cross, -1, P) % P,
    )


def point_at(y):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0
    return x, y % P


def test_the_refused_keys_are_the_points_whose_order_divides_eight():
    for form in _SMALL_ORDER:
        point = point_at(int.from_bytes(form, "little"))
        for _ in range(3):
            point = add(point, point)
        assert point == NEUTRAL
    # Eight points: the neutral one and that of order two have x = 0, so their y stands for one point each; the
    # two of order four share y = 0, the four of order eight have two y. That makes five y, and two more forms.
    assert len({int.from_bytes(form, "little") % P for form in _SMALL_ORDER}) == 5
    assert {P, P + 1} <= {int.from_bytes(form, "little") for form in _SMALL_ORDER}


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize("form", sorted(_SMALL_ORDER))
def test_a_key_of_small_order_is_refused(form, sign):
    with pytest.raises(TrustError, match="small order"):
        PublicKey(form[:31] + bytes([form[31] | sign]))


def test_keys_survive_their_files():
    assert PrivateKey.from_text(KEY.to_text()).public.raw == KEY.public.raw
    again = PublicKey.from_text(KEY.public.to_text("edge-agent:w"))
    assert (again.raw, again.keyid) == (KEY.public.raw, KEY.public.keyid)


@pytest.mark.parametrize("comment", ["", "a", "anna at the boiler house", "ü" * 40])
def test_plain_files_of_ssh_keygen_are_read_as_the_library_reads_them(tmp_path, comment):
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], check=True)
    text, line = path.read_bytes(), (tmp_path / "key.pub").read_bytes()
    theirs = serialization.load_ssh_private_key(text, None)
    assert pair_of(text) == (theirs.private_bytes_raw(), theirs.public_key().public_bytes_raw())
    assert public_of(line) == theirs.public_key().public_bytes_raw()
    open_ssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    assert line_of(public_of(line)) == theirs.public_key().public_bytes(*open_ssh)


def test_our_key_files_are_read_by_the_library_and_by_ssh_keygen(tmp_path):
    theirs = serialization.load_ssh_private_key(KEY.to_text(), None)
    assert theirs.public_key().public_bytes_raw() == KEY.public.raw
    path = tmp_path / "key"
    path.write_bytes(KEY.to_text())
    path.chmod(0o600)
    told = subprocess.run(["ssh-keygen", "-y", "-f", path], check=True, capture_output=True).stdout
    assert told.strip() == line_of(KEY.public.raw)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_plain_file_with_any_byte_changed_is_the_same_key_or_for_the_library_to_refuse(place, byte):
    text = bytearray(KEY.to_text())
    text[place % len(text)] = byte
    pair = pair_of(bytes(text))
    if pair is not None and pair != pair_of(KEY.to_text()):
        with pytest.raises(TrustError, match="belong together"):
            PrivateKey.from_text(bytes(text))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_plain_forms(data):
    body = b"-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n-----END OPENSSH PRIVATE KEY-----\n"
    assert pair_of(body % base64.b64encode(b"openssh-key-v1\0\0\0\0\4none\0\0\0\4none\0\0\0\0\0\0\0\1" + data)) is None
    assert public_of(b"ssh-ed25519 " + base64.b64encode(data)) is None


def test_a_signature_is_of_one_key_over_one_message():
    signature = KEY.sign(b"message")
    assert KEY.public.verifies(signature, b"message")
    assert not KEY.public.verifies(signature, b"messagf")
    assert not OTHER_KEY.public.verifies(signature, b"message")
    assert not KEY.public.verifies(signature[:-1], b"message")


@pytest.mark.parametrize("text", [b"", b"ssh-ed25519", b"ssh-ed25519 AAAA", b"ssh-rsa AAAAB3NzaC1yc2E= x", b"\xff\x00"])
def test_what_is_no_ed25519_key_is_refused(text):
    with pytest.raises(TrustError, match="wanted"):
        PublicKey.from_text(text)
    with pytest.raises(TrustError, match="wanted"):
        PrivateKey.from_text(text)
