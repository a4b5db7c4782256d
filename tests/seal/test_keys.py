import pytest
from worlds import KEY, OTHER_KEY

from edge_agent.model.errors import TrustError
from edge_agent.seal.keys import _SMALL_ORDER, PrivateKey, PublicKey

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
