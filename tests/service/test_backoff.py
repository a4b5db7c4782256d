import pytest

from edge_agent.service.backoff import FIRST_S, LONGEST_S, Backoff, Breaker


def test_waits_double_up_to_the_longest_and_begin_anew():
    backoff = Backoff(lambda: 0.0)
    waits = [backoff.failed() for _ in range(9)]
    assert waits[:4] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, 8 * FIRST_S]
    assert waits[-1] == LONGEST_S
    backoff.succeeded()
    assert backoff.failed() == FIRST_S


def test_a_thousand_failures_are_no_overflow():
    backoff = Backoff(lambda: 0.0)
    assert {backoff.failed() for _ in range(2000)} <= {FIRST_S * 2**n for n in range(7)} | {LONGEST_S}


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_jitter_only_shortens_and_by_at_most_a_half(chance):
    assert FIRST_S / 2 < Backoff(lambda: chance).failed() <= FIRST_S


def test_a_breaker_opens_after_two_failures_and_lets_one_probe_through_each_back_off():
    breaker = Breaker(lambda: 0.0)
    assert breaker.failed(0.0, "timeout") is False
    assert breaker.allows(0.0)
    assert breaker.failed(0.0, "timeout") is True
    assert not breaker.allows(FIRST_S - 0.01)
    assert breaker.allows(FIRST_S)
    assert breaker.failed(FIRST_S, "timeout") is False
    assert not breaker.allows(2 * FIRST_S)
    assert breaker.answered() is True
    assert breaker.allows(0.0)
    assert breaker.answered() is False
