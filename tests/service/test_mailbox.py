"""The mailbox against a flood: what is looked at is bounded, what is not is counted, an honest letter gets through."""

import asyncio

from edge_agent.service.mailbox import AT_ONCE, PER_S, Mailbox


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def test_a_thousand_letters_a_second_for_a_minute_cost_ten_signatures_a_second():
    clock = Clock()
    box = Mailbox(clock, asyncio.Event())
    looked_at = counted = 0
    for n in range(60_000):
        clock.now_s = n / 1000
        box.put(b"\x83junk", retained=False)
        if n % 200 == 199:
            post = box.take()
            looked_at += len(post.letters)
            counted += sum(post.refused.values())
    assert looked_at <= AT_ONCE + 60 * PER_S + 1
    assert looked_at + counted == 60_000


def test_a_letter_sent_again_gets_in_as_soon_as_there_is_room():
    clock = Clock()
    box = Mailbox(clock, asyncio.Event())
    for _ in range(AT_ONCE + 5):
        box.put(b"junk", retained=False)
    box.put(b"honest", retained=False)
    assert b"honest" not in box.take().letters
    clock.now_s = 1.0
    box.put(b"honest", retained=False)
    assert box.take().letters == (b"honest",)


def test_retained_and_large_ones_are_not_even_kept_and_each_turn_has_a_seed_of_its_own():
    box, urgent = Mailbox(Clock(), asyncio.Event()), asyncio.Event()
    box.put(b"old", retained=True)
    box.put(bytes(9000), retained=False)
    post = box.take()
    assert (post.letters, post.refused) == ((), {"retained": 1, "size": 1})
    assert len(post.seed) == 32
    assert post.seed != box.take().seed
    assert not urgent.is_set()


def test_a_letter_is_urgent():
    urgent = asyncio.Event()
    Mailbox(Clock(), urgent).put(b"x", retained=False)
    assert urgent.is_set()
