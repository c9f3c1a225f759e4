"""The retry policy in numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.engine.delivery.retry import RetryPolicy, halt_delay


def test_attempts_count_the_first_call() -> None:
    assert [RetryPolicy(3, 1, 9).exhausted(attempt) for attempt in (1, 2, 3)] == [False, False, True]
    assert RetryPolicy(1, 1, 9).exhausted(1)


def test_waits_double_up_to_the_longest() -> None:
    policy = RetryPolicy(9, 0.2, 1.0)
    assert [policy.delay(attempt, 1.0) for attempt in range(1, 6)] == [0.2, 0.4, 0.8, 1.0, 1.0]


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_jitter_is_full_and_never_beyond_the_longest(attempt: int, random: float) -> None:
    policy = RetryPolicy(10**6, 0.2, 30.0)
    assert policy.delay(attempt, random) == pytest.approx(random * policy.delay(attempt, 1.0))
    assert 0 <= policy.delay(attempt, random) <= 30.0


def test_halts_wait_long_and_longer() -> None:
    assert [halt_delay(times) for times in (1, 2, 3, 4, 5, 100)] == [30, 60, 120, 240, 300, 300]
