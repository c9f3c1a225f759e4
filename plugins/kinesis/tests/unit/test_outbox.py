"""What a call may hold: the service's limits, and only the oldest of those that keep their order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from streamkit_kinesis.outbox import Outbox
from streamkit_kinesis.outgoing import MAX_CALL_BYTES, MAX_CALL_RECORDS, Entry


def entries(count: int, lane: bytes | None = None, size: int = 100) -> list[Entry]:
    return [Entry(b"%d" % number, "key", lane, bytes=size) for number in range(count)]


made = st.lists(
    st.builds(
        lambda lane, size: Entry(b"", "key", lane, bytes=size),
        st.one_of(st.none(), st.sampled_from([b"a", b"b", b"c"])),
        st.one_of(st.integers(1, 2000), st.integers(1 << 20, 6 << 20)),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=80)
@given(st.lists(made, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_each_is_answered_once_in_the_order_of_its_lane(waves, random):
    """Whatever succeeds, is refused for now, or is given up: no call is too large, and no lane has two under way or goes back."""
    outbox = Outbox()
    now = 0.0
    answered: list[Entry] = []
    given_up: list[Entry] = []
    added: list[Entry] = []
    for wave in [*waves, []]:
        outbox.add(wave)
        added += wave
        rounds = random.randrange(4) if wave else 10_000
        for _ in range(rounds):
            call = outbox.take(now)
            if not call:
                if (at := outbox.next_at()) is None:
                    break
                now = at
                continue
            assert len(call) <= MAX_CALL_RECORDS
            assert len(call) == 1 or sum(entry.bytes for entry in call) <= MAX_CALL_BYTES
            lanes = [entry.lane for entry in call if entry.lane is not None]
            assert len(lanes) == len(set(lanes))
            for entry in call:
                match random.randrange(6):
                    case 0 | 1 if wave or entry.attempts < 3:
                        entry.attempts += 1
                        outbox.again(entry, now + random.random())
                    case 2:
                        given_up += [entry, *outbox.failed(entry)]
                    case _:
                        outbox.done(entry)
                        answered.append(entry)
    assert sorted(map(id, answered + given_up)) == sorted(map(id, added))
    for lane in (b"a", b"b", b"c"):
        numbers = [entry.number for entry in answered if entry.lane == lane]
        assert numbers == sorted(numbers)
    assert outbox.take(now) == []
    assert outbox.empty() == []


def test_five_hundred_are_in_a_call_and_the_oldest_go_first():
    outbox = Outbox()
    outbox.add(entries(1200))
    sizes = []
    while call := outbox.take(0.0):
        assert [entry.number for entry in call] == sorted(entry.number for entry in call)
        sizes.append(len(call))
    assert sizes == [500, 500, 200]


def test_what_does_not_fit_is_in_the_next_call_and_one_that_is_too_large_for_any_goes_alone():
    outbox = Outbox()
    outbox.add([Entry(b"", "k", bytes=size << 20) for size in (2, 3, 1, 6, 5)])
    calls = []
    while call := outbox.take(0.0):
        calls.append([entry.bytes >> 20 for entry in call])
    assert calls == [[2, 3], [1], [6], [5]]


def test_one_that_rests_does_not_hold_up_others_but_its_lane():
    outbox = Outbox()
    first, second = entries(2, b"a")
    (other,) = entries(1, b"b")
    outbox.add([first, second, other])
    assert outbox.take(0.0) == [first, other]
    outbox.again(first, 5.0)
    outbox.done(other)
    assert outbox.take(4.9) == []
    assert outbox.next_at() == 5.0
    assert outbox.take(5.0) == [first]
    outbox.done(first)
    assert outbox.take(5.0) == [second]


def test_what_stands_behind_one_that_is_given_up_is_handed_back():
    outbox = Outbox()
    first, second, third = entries(3, b"a")
    outbox.add([first, second, third])
    outbox.take(0.0)
    assert outbox.failed(first) == [second, third]
    later = Entry(b"", "k", b"a")
    outbox.add([later])
    assert outbox.take(0.0) == [later]


def test_emptying_leaves_only_what_is_under_way():
    outbox = Outbox()
    lane = entries(3, b"a")
    outbox.add([*lane, *entries(2)])
    under_way = outbox.take(0.0)
    outbox.again(under_way[1], 9.0)
    assert sorted(entry.number for entry in outbox.empty()) == [2, 3, 4]
    outbox.done(lane[0])
    assert outbox.take(10.0) == []
