"""The group protocol of the memory broker: one owner at a time, nobody waits longer than promised, few moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.builtin.memory.balance import balance
from streamkit.errors import BrokerError, StreamGoneError
from streamkit.model import Partition, StartPosition
from streamkit.plugin import Assigned, Event, Idle, Lost, Membership, Revoked
from tests.unit.builtin.memory_rig import ALL, Rig, at_once, failures, sequences

SESSION, REVOKE = 6.0, 4.0


@dataclass
class Member:
    """A member as an engine would see it: what it believes to hold, and until when."""

    rig: Rig
    membership: Membership
    holds: dict[Partition, float] = field(default_factory=dict)  # until when, for what is being revoked
    epochs: dict[Partition, int] = field(default_factory=dict)
    revoked: list[Revoked] = field(default_factory=list)
    alive_until: float = 0.0

    def poll(self) -> list[Event]:
        self.alive_until = self.rig.context.now + SESSION
        events = list(at_once(self.membership.poll(ALL)))
        for event in events:
            if isinstance(event, Lost):
                for partition in event.partitions:
                    self.holds.pop(partition, None)
            elif isinstance(event, Revoked):
                self.holds.update((p, self.rig.context.now + event.deadline_seconds) for p in event.partitions)
                self.revoked.append(event)
            elif isinstance(event, Assigned):
                assert not any(p in self.holds for p in event.partitions), "assigned what it has"
                self.holds.update((p, float("inf")) for p in event.partitions)
                assert all(event.epoch > self.epochs.get(p, 0) for p in event.partitions)
                self.epochs.update((p, event.epoch) for p in event.partitions)
                for partition in event.partitions:
                    at_once(self.membership.add(partition, StartPosition.EARLIEST))
        return events

    def finish(self) -> None:
        for event in self.revoked:
            event.done()
            for partition in event.partitions:
                if self.holds.get(partition, float("inf")) < float("inf"):
                    del self.holds[partition]
        self.revoked.clear()

    @property
    def owns(self) -> set[Partition]:
        now = self.rig.context.now
        return {p for p, until in self.holds.items() if now < until and now < self.alive_until}


def rig_of(partitions: int) -> Rig:
    rig = Rig(session=SESSION, revoke=REVOKE)
    rig.log.create("s", partitions)
    return rig


def join(rig: Rig, *streams: str) -> Member:
    return Member(rig, rig.broker.join(streams or ("s",), "g", lambda revoked: None))


def settle(members: list[Member]) -> None:
    for _ in range(4):
        for member in members:
            member.poll()
            member.finish()


def ids(member: Member) -> list[str]:
    return sorted(p.id for p in member.owns)


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["poll", "poll", "poll", "finish", "leave"]), st.integers(0, 4)),
        st.tuples(st.just("wait"), st.sampled_from([1, 2, 5, 7])),
        st.tuples(st.sampled_from(["join", "grow"]), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(partitions=st.integers(1, 7), history=steps)
def test_never_two_owners_and_when_it_settles_everything_is_owned_and_level(partitions: int, history: list[tuple[str, int]]) -> None:
    rig = rig_of(partitions)
    members = [join(rig)]
    for step, value in history:
        member = members[value % len(members)] if members else None
        if step == "wait":
            rig.context.now += value
        elif step == "grow":
            partitions += 1
            rig.log.add_partitions("s", partitions)
        elif step == "join" and len(members) < 5:
            members.append(join(rig))
        elif member and step == "leave":
            at_once(member.membership.leave())
            members.remove(member)
        elif member:
            member.poll() if step == "poll" else member.finish()
        owned = [p for m in members for p in m.owns]
        assert len(owned) == len(set(owned)), "two members own one partition"
    members = members or [join(rig)]
    settle(members)
    assert sorted(int(i) for m in members for i in ids(m)) == list(range(partitions))
    loads = [len(m.owns) for m in members]
    assert max(loads) - min(loads) <= 1
    assert [m.poll() for m in members] == [[Idle(0.01)]] * len(members), "settled, so nothing moves any more"


@given(st.integers(1, 6), st.lists(st.one_of(st.none(), st.integers(0, 7)), max_size=30))
def test_balancing_moves_no_more_than_it_must(members: int, current: list[int | None]) -> None:
    wants = {f"m{n}": frozenset(Partition("s", str(i)) for i in range(len(current))) for n in range(members)}
    before = {Partition("s", str(i)): f"m{member}" for i, member in enumerate(current) if member is not None}
    target = balance(wants, before)
    loads = [list(target.values()).count(member) for member in wants]
    assert set(target) == set().union(*wants.values())
    assert max(loads) - min(loads) <= 1
    floor, over = divmod(len(current), members)
    held = sorted((list(before.values()).count(member) for member in wants), reverse=True)
    can_stay = sum(min(count, floor + (rank < over)) for rank, count in enumerate(held))
    assert sum(target[p] == member for p, member in before.items()) == can_stay


def test_a_new_member_gets_its_share_only_when_the_old_owner_is_done() -> None:
    rig = rig_of(4)
    a, b = join(rig), join(rig)
    settle([a])
    b.poll()
    assert [type(event) for event in a.poll()][:1] == [Revoked]
    b.poll()
    assert ids(b) == [], "not before done"
    assert len(ids(a)) == 4
    a.finish()
    b.poll()
    assert (len(ids(a)), len(ids(b))) == (2, 2)


def test_a_new_member_gets_its_share_when_the_deadline_has_passed() -> None:
    rig = rig_of(4)
    a, b = join(rig), join(rig)
    settle([a])
    b.poll()
    a.poll()
    rig.context.now += REVOKE - 0.001
    b.poll()
    assert ids(b) == []
    rig.context.now += 0.001
    b.poll()
    assert len(ids(b)) == 2
    (lost,) = [event for event in a.poll() if isinstance(event, Lost)]
    assert len(lost.partitions) == 2
    a.finish()
    assert len(ids(b)) == 2, "done after the deadline changes nothing"


def test_a_member_that_is_silent_for_the_session_timeout_loses_everything_and_comes_back() -> None:
    rig = rig_of(2)
    a, b = join(rig), join(rig)
    settle([a, b])
    rig.context.now += SESSION - 0.001
    b.poll()
    assert (len(ids(a)), len(ids(b))) == (1, 1)
    rig.context.now += 0.001
    b.poll()
    assert ids(b) == ["0", "1"]
    assert isinstance(a.poll()[0], Lost)
    settle([a, b])
    assert (len(ids(a)), len(ids(b))) == (1, 1)


def test_nothing_of_a_revoked_partition_is_returned_and_it_cannot_be_added_again() -> None:
    rig = rig_of(2)
    a, b = join(rig), join(rig)
    settle([a])
    b.poll()
    rig.write(1, partition="0")
    rig.write(1, partition="1")
    events = a.poll()
    (revoked,) = a.revoked[0].partitions
    assert len(sequences(events)) == 1
    with pytest.raises(BrokerError, match="not assigned"):
        at_once(a.membership.add(revoked, StartPosition.EARLIEST))
    assert sequences(a.poll()) == []


def test_a_done_of_long_ago_does_not_end_a_later_revocation() -> None:
    rig = rig_of(2)
    a, b, c = join(rig), join(rig), join(rig)
    settle([a])
    b.poll()
    a.poll()
    (early,) = a.revoked
    at_once(b.membership.leave())
    rig.context.now += SESSION
    settle([a])
    c.poll()
    a.poll()
    assert a.revoked[-1].partitions == early.partitions, "the same one again, after it was lost and came back"
    early.done()
    c.poll()
    assert ids(c) == []
    a.finish()
    c.poll()
    assert len(ids(c)) == 1


def test_streams_and_partitions_that_appear_are_found_by_the_next_polls() -> None:
    rig = rig_of(1)
    a = join(rig, "^s")
    settle([a])
    rig.log.add_partitions("s", 2)
    rig.log.create("s-more", 1)
    rig.log.create("other", 1)
    rig.log.create("s-kinesis", 1, "kinesis")
    a.poll()
    assert sorted(map(str, a.owns)) == ["s-more/0", "s/0", "s/1"]


def test_new_partitions_are_shared_out_without_moving_any() -> None:
    rig = rig_of(2)
    members = [join(rig), join(rig)]
    settle(members)
    rig.log.add_partitions("s", 6)
    for member in members:
        assert not any(isinstance(event, Revoked | Lost) for _ in range(2) for event in member.poll())
    assert [len(ids(m)) for m in members] == [3, 3]


def test_an_unknown_stream_is_gone_and_a_deleted_one_fails_in_the_hands_of_its_owner() -> None:
    rig = Rig(auto_create=False)
    with pytest.raises(StreamGoneError):
        at_once(join(rig).membership.poll(ALL))
    rig = rig_of(2)
    a = join(rig)
    settle([a])
    rig.log.delete("s")
    assert failures(a.poll()) == [StreamGoneError, StreamGoneError]
    with pytest.raises(StreamGoneError):
        at_once(rig.broker.join(["s"], "other", lambda revoked: None).poll(ALL))


def test_groups_do_not_share_partitions_with_each_other() -> None:
    rig = rig_of(2)
    a = join(rig)
    other = Member(rig, rig.broker.join(["s"], "other", lambda revoked: None))
    settle([a, other])
    assert ids(a) == ids(other) == ["0", "1"]
