"""When a shard is read next: the service's limits are kept, refusals slow down, idle shards rest."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from streamkit_kinesis.pace import MAX_THROTTLE_SECONDS, SLOWEST, Limits, Pace

LIMITS = Limits(reads_per_second=5, bytes_per_second=2_000_000, idle_seconds=1.0)


def pace_of(chance: float = 0.5, limits: Limits = LIMITS, now: float = 0.0, shards: int = 1) -> Pace:
    return Pace(limits, lambda: chance, now, shards)


answers = st.tuples(st.sampled_from(["read", "empty", "throttled", "failed", "again"]), st.integers(0, 10 << 20), st.booleans())


@given(st.lists(answers, min_size=20, max_size=60), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_no_shard_is_read_more_often_than_allowed_whatever_happens(history: list[tuple[str, int, bool]], chance: float) -> None:
    pace = pace_of(chance)
    begun: list[float] = []
    free_at = 0.0
    for what, size, behind in history:
        now = pace.due
        if what != "failed":
            assert now >= free_at - 1e-9, "the bytes of the last answer are not paid for"
            begun.append(now)
        if what == "throttled":
            pace.throttled(now + 0.01)
        elif what == "failed":
            pace.failed(now + 0.3)
        elif what == "again":
            pace.again(now + 0.01)
        else:
            size = size if what == "read" else 0
            free_at = now + size / LIMITS.bytes_per_second
            pace.read(now, now + 0.01, size, 1 if size else 0, behind=behind)
    for first, sixth in zip(begun, begun[5:], strict=False):
        assert sixth - first >= 0.999


def test_a_shard_that_is_behind_is_read_again_as_soon_as_it_may_be() -> None:
    pace = pace_of()
    pace.read(10.0, 10.05, 1000, 1, behind=True)
    assert pace.due == 10.2
    pace.read(20.0, 20.5, 1000, 1, behind=True)
    assert pace.due == 20.5


def test_an_answer_of_ten_mebibytes_is_followed_by_five_seconds_of_rest() -> None:
    pace = pace_of()
    pace.read(10.0, 11.0, 10 << 20, 10_000, behind=True)
    assert pace.due > 15.2


def test_an_idle_shard_rests_longer_and_longer_and_a_record_wakes_it_up() -> None:
    pace = pace_of(chance=0.5)
    rests = []
    for _ in range(4):
        pace.read(0.0, 0.0, 0, 0, behind=False)
        rests.append(pace.due)
    assert rests == [0.5, 1.0, 1.0, 1.0]
    pace.read(0.0, 0.0, 10, 1, behind=False)
    assert pace.due == 0.25


def test_a_refusal_halves_the_pace_and_each_success_brings_back_a_part() -> None:
    pace = pace_of(chance=1.0)
    pace.throttled(0.0)
    assert pace.rate == 2.5
    assert pace.due == 0.4 + 0.5
    pace.throttled(0.0)
    assert pace.rate == 1.25
    assert pace.due == 0.8 + 1.0
    for _ in range(14):
        pace.read(0.0, 0.0, 0, 0, behind=True)
        assert pace.rate < 5
    pace.read(0.0, 0.0, 0, 0, behind=True)
    assert pace.rate == 5


def test_refusals_for_a_long_time_neither_stop_a_shard_nor_count_as_failures() -> None:
    pace = pace_of(chance=1.0)
    for _ in range(100):
        pace.throttled(0.0)
    assert pace.due == 1 / SLOWEST + MAX_THROTTLE_SECONDS
    assert pace.failures == 0
    assert pace.failing_since is None


def test_the_pause_after_a_refusal_is_random_from_nothing_on() -> None:
    first, second = pace_of(chance=0.0), pace_of(chance=1.0)
    first.throttled(0.0)
    second.throttled(0.0)
    assert (first.due, second.due) == (0.4, 0.9)


def test_failures_are_counted_since_the_first_and_forgotten_with_a_success() -> None:
    pace = pace_of()
    pace.failed(1.0)
    pace.failed(2.0)
    assert (pace.failures, pace.failing_since) == (2, 1.0)
    pace.read(3.0, 3.0, 0, 0, behind=False)
    assert (pace.failures, pace.failing_since) == (0, None)


def test_the_first_reads_of_many_shards_lie_apart() -> None:
    assert pace_of(chance=1.0).due == 0.01
    assert pace_of(chance=0.5, shards=1000).due == 0.5
    assert pace_of(chance=1.0, shards=100_000).due == 1.0


def test_where_other_consumers_read_as_well_the_setting_leaves_them_their_part() -> None:
    pace = pace_of(limits=Limits(2, 2_000_000, 1.0))
    pace.read(0.0, 0.0, 10, 1, behind=True)
    assert pace.due == 0.5
