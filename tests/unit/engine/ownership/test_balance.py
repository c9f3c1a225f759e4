"""Balance: what one worker decides, by tables; and what all of them come to together, by random lives of a group."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.engine.ownership.balance import Decisions, View, decide
from streamkit.engine.ownership.observation import Limits, Observation, expires_next, observed, valid_seconds
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition

LIMITS = Limits(lease_seconds=10.0, handover_seconds=5.0, poll_seconds=1.0)
P = [Partition("s", str(number)) for number in range(12)]
ME = "me"


def lease(number: int, owner: str = "", to: str = "", version: int = 1, *, ended: bool = False) -> Lease:
    checkpoint = Checkpoint(P[number], StartPosition.after(Position.END)) if ended else None
    return Lease(P[number], owner, 1, version, to, checkpoint)


def owned(*counts: tuple[str, int]) -> list[Lease]:
    """So many leases for each owner; "" for nobody."""
    owners = [owner for owner, count in counts for _ in range(count)]
    return [lease(number, owner) for number, owner in enumerate(owners)]


def look(rows: list[Lease], *, age: float = 0.0, known: bool = True, **more: object) -> Decisions:
    """What we decide when everything was first seen `age` seconds ago."""
    seen = observed({}, rows, 100.0 - age)
    more.setdefault("held", [row.partition for row in rows if row.owner == ME])
    more.setdefault("is_announced", any(ME in (row.owner, row.handover_to) for row in rows))
    limits = more.pop("limits", LIMITS)
    return decide(View(rows, seen, ME, 100.0, limits, is_known=known, **more))  # type: ignore[arg-type]


def ids(leases: tuple[Lease, ...]) -> list[str]:
    return [one.partition.id for one in leases]


# -- taking --------------------------------------------------------------------------------------------------------------


def test_a_newcomer_takes_one_and_no_more() -> None:
    assert len(look(owned(("", 10)), known=False).take) == 1


def test_a_newcomer_that_finds_nothing_free_asks_for_one_and_no_more() -> None:
    assert len(look(owned(("a", 10)), known=False).ask) == 1


def test_a_newcomer_asks_whoever_can_be_asked() -> None:
    """The fullest may be a worker of the KCL, which never answers: those who would give are not passed over for it."""
    rows = owned(("kcl", 6), ("a", 4))
    assert look(rows, known=False).ask[0].owner == "kcl", "if nobody knows better"
    assert [one.owner for one in look(rows, known=False, unaskable={"kcl"}).ask] == ["a"]
    assert [one.owner for one in look(rows, unaskable={"kcl"}).ask] == ["a", "a"]
    assert look(owned(("kcl", 10)), known=False, unaskable={"kcl"}) == Decisions()


def test_until_all_can_have_seen_it_nothing_more_is_taken() -> None:
    rows = owned((ME, 1), ("", 9))
    assert look(rows, known=False) == Decisions()
    assert len(look(rows).take) == 9


def test_each_takes_a_slice_of_its_own_up_to_its_share() -> None:
    rows = owned((ME, 1), ("a", 1), ("z", 1), ("", 7))
    assert ids(look(rows).take) == ["6", "7"] or len(look(rows).take) in (2, 3)
    others = {decide(View(rows, observed({}, rows, 100.0), who, 100.0, LIMITS, held=[P[at]])).take for at, who in ((1, "a"), (2, "z"))}
    everything = [*look(rows).take, *(taken for take in others for taken in take)]
    assert sorted(ids(tuple(everything))) == ["3", "4", "5", "6", "7", "8", "9"]


def test_never_more_than_max_partitions() -> None:
    capped = replace(LIMITS, max_partitions=3)
    assert len(look(owned((ME, 1), ("", 9)), limits=capped).take) == 2
    assert look(owned((ME, 3), ("", 9)), limits=capped) == Decisions()


def test_what_nobody_takes_for_three_polls_is_taken_above_the_share() -> None:
    rows = owned((ME, 4), ("capped", 1), ("", 3))
    assert look(rows).take == ()
    assert len(look(rows, age=3.5).take) in (1, 2)
    assert len(look(rows, age=6.5).take) == 3


def test_who_gives_back_has_no_share_of_what_it_gave_back() -> None:
    before = owned((ME, 1), ("leaver", 5))
    after = [*before[:2], *(replace(row, owner="", version=2) for row in before[2:])]
    seen = observed(observed({}, before, 99.0), after, 100.0)
    assert len(decide(View(after, seen, ME, 100.0, LIMITS, held=[P[0]])).take) == 4


def test_ended_and_gated_leases_are_nobodys() -> None:
    rows = [lease(0, ended=True), lease(1), lease(2)]
    assert ids(look(rows, gated=[P[1]]).take) == ["2"]


def test_a_lease_of_ours_whose_answer_was_lost_is_taken_again() -> None:
    assert ids(look([lease(0, ME), lease(1, "a")], held=()).take) == ["0"]


def test_what_is_still_busy_here_is_left_to_others() -> None:
    assert look([lease(0, ME), lease(1, "a")], held=(), busy=[P[0]]).take == ()
    assert look([lease(0)], busy=[P[0]]).take == ()


# -- expiry --------------------------------------------------------------------------------------------------------------


def test_an_owned_lease_counts_as_renewed_when_it_is_first_seen_and_expires_a_lease_later() -> None:
    rows = owned(("a", 4))
    assert look(rows).take == ()
    assert look(rows, age=9.9).take == ()
    assert len(look(rows, age=10.0, known=False).take) == 1
    assert len(look([*rows, lease(4, ME)], age=10.0).take) == 4


def test_a_version_that_rises_is_a_sign_of_life() -> None:
    first = observed({}, [lease(0, "a", version=1)], 0.0)
    again = observed(first, [lease(0, "a", version=1)], 7.0)
    assert again[P[0]].since == 0.0
    assert not again[P[0]].has_moved, "whoever owns it may be dead"
    moved = observed(again, [lease(0, "a", version=2)], 8.0)
    assert (moved[P[0]].since, moved[P[0]].has_moved) == (8.0, True)
    assert observed(moved, [lease(0, "a", version=2)], 9.0)[P[0]].has_moved


def test_time_in_which_nothing_could_be_listed_does_not_count() -> None:
    first = observed({}, [lease(0, "a", to="b")], 0.0)
    later = observed(first, [lease(0, "a", to="b")], 60.0, unwatched_seconds=58.0)
    assert (later[P[0]].since, later[P[0]].asked_since) == (58.0, 58.0)
    assert not later[P[0]].is_expired(60.0, LIMITS)


def test_the_next_expiry_is_known_in_advance() -> None:
    rows = [lease(0, "a"), lease(1)]
    assert expires_next(observed({}, rows, 5.0), rows, 7.0, LIMITS) == 8.0
    assert expires_next(observed({}, rows[1:], 5.0), rows[1:], 7.0, LIMITS) == float("inf")


def test_an_owner_stops_before_anybody_could_own_it() -> None:
    assert valid_seconds(10.0) <= 8.0


# -- asking and answering ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mine", "theirs", "asked"), [(0, 1, 0), (0, 2, 1), (0, 10, 5), (3, 4, 0), (3, 5, 1), (2, 7, 2), (5, 5, 0)])
def test_asked_for_is_what_makes_it_level_and_off_by_one_never_moves(mine: int, theirs: int, asked: int) -> None:
    assert len(look(owned((ME, mine), ("a", theirs))).ask) == asked


def test_the_fullest_is_asked_first() -> None:
    found = look(owned((ME, 1), ("a", 3), ("b", 6)))
    assert Counter(one.owner for one in found.ask) == {"b": 2}


def test_what_others_have_asked_for_counts_as_moved() -> None:
    rows = [lease(n, "a", to="b" if n < 4 else "") for n in range(8)]
    assert len(look([*rows, lease(8, ME), lease(9, ME), lease(10, ME)]).ask) == 0
    assert len(look([*rows, lease(8, ME)]).ask) == 1


def test_nothing_is_asked_for_beyond_max_partitions() -> None:
    assert len(look(owned((ME, 2), ("a", 9)), limits=replace(LIMITS, max_partitions=3)).ask) == 1


def test_an_owner_gives_while_that_evens_out_and_refuses_the_rest() -> None:
    rows = [lease(n, ME, to="b") for n in range(4)] + [lease(n, ME) for n in range(4, 6)]
    found = look(rows)
    assert (len(found.give), len(found.refuse)) == (3, 1)
    assert len(look([*rows, lease(6, "b"), lease(7, "b"), lease(8, "b"), lease(9, "b"), lease(10, "b")]).refuse) == 4


def test_what_is_being_given_is_not_given_twice_and_counts_as_gone() -> None:
    rows = [lease(n, ME, to="b") for n in range(3)] + [lease(3, ME)]
    found = look(rows, giving=[P[0], P[1]])
    assert (found.give, ids(found.refuse)) == ((), ["2"])


def test_a_lease_that_was_asked_for_is_kept_for_whoever_asked() -> None:
    rows = [lease(0, to="b"), lease(1, ME)]
    assert look(rows).take == ()
    assert ids(look(rows, age=10.0).take) == ["0"]
    assert ids(look([lease(0, to=ME), lease(1, "b")], known=False).take) == ["0"]


def test_a_request_that_is_not_answered_in_time_is_taken_by_force() -> None:
    rows = [lease(0, "a", to=ME), lease(1, "a"), lease(2, "a")]
    seen = observed(observed({}, rows, 100.0 - 7.0), [replace(row, version=9) for row in rows], 99.0)
    fresh = [replace(row, version=9) for row in rows]
    assert ids(decide(View(fresh, seen, ME, 100.0, LIMITS)).force) == ["0"]
    assert decide(View(fresh, seen, ME, 99.0, LIMITS)).force == ()


# -- all together --------------------------------------------------------------------------------------------------------


@dataclass
class Member:
    name: str
    most: int | None = None
    held: set[Partition] = field(default_factory=set)
    giving: dict[Partition, int] = field(default_factory=dict)
    seen: Mapping[Partition, Observation] = field(default_factory=dict)
    known_at: float | None = None
    alive: bool = True


class Group:
    """The rows and those who look at them. In a round all list first and act afterwards, in any order: as stale as it gets."""

    def __init__(self, leases: int, dice: random.Random) -> None:
        self.dice = dice
        self.rows = {p: Lease(p) for p in (Partition("s", str(n)) for n in range(leases))}
        self.members: list[Member] = []
        self.now = 0.0
        self.moves: Counter[Partition] = Counter()

    @property
    def living(self) -> list[Member]:
        return [member for member in self.members if member.alive]

    def loads(self) -> list[int]:
        return sorted(len(member.held) for member in self.living)

    def round(self) -> None:
        self.now += 1.0
        plans = []
        for member in self.living:
            for partition in member.held:
                self.rows[partition] = replace(self.rows[partition], version=self.rows[partition].version + 1)
            self._finish_giving(member)
        listing = list(self.rows.values())
        for member in self.living:
            member.seen = observed(member.seen, listing, self.now)
            is_announced = any(member.name in (row.owner, row.handover_to) for row in listing)
            if not is_announced:
                member.known_at = None
            limits = replace(LIMITS, max_partitions=member.most)
            known = member.known_at is not None and self.now >= member.known_at
            view = View(
                listing,
                member.seen,
                member.name,
                self.now,
                limits,
                set(member.held),
                set(member.giving),
                is_announced=is_announced,
                is_known=known,
            )
            plan = decide(view)
            if member.known_at is None and (plan.take or plan.force or plan.ask):
                member.known_at = self.now + 1.0
            plans.append((member, plan))
        self.dice.shuffle(plans)
        for member, plan in plans:
            self._act(member, plan)
        for member in self.living:
            assert member.most is None or len(member.held) <= member.most

    def _finish_giving(self, member: Member) -> None:
        for partition in [p for p, rounds in member.giving.items() if rounds == 0]:
            del member.giving[partition]
            member.held.discard(partition)
            row = self.rows[partition]
            self.rows[partition] = replace(row, owner="", epoch=row.epoch + 1, version=row.version + 1)
        member.giving = {p: rounds - 1 for p, rounds in member.giving.items()}

    def _act(self, member: Member, plan: Decisions) -> None:
        for one in plan.give:
            member.giving[one.partition] = self.dice.randrange(3)
        for one in plan.refuse:
            self._request(one, "")
        for one in (*plan.take, *plan.force):
            row = self.rows[one.partition]
            if (row.version, row.owner, row.epoch) != (one.version, one.owner, one.epoch):
                continue
            for other in self.living:
                assert one.partition not in other.held or one in plan.force
            self.rows[one.partition] = replace(row, owner=member.name, epoch=row.epoch + 1, version=row.version + 1, handover_to="")
            self.moves[one.partition] += 1
            member.held.add(one.partition)
        for one in plan.ask:
            self._request(one, member.name)

    def _request(self, one: Lease, to: str) -> None:
        row = self.rows[one.partition]
        if (row.owner, row.epoch, row.handover_to) == (one.owner, one.epoch, one.handover_to):
            self.rows[one.partition] = replace(row, handover_to=to)

    def _owners(self) -> list[tuple[str, str]]:
        return [(row.owner, row.handover_to) for row in self.rows.values()]

    def settle(self, rounds: int) -> int:
        """Rounds until nothing changes any more."""
        for number in range(rounds):
            before = self._owners()
            self.round()
            if (
                self._owners() == before
                and {owner for owner, asked in before} <= {m.name for m in self.living}
                and not any(asked for _, asked in before)
            ):
                return number
        raise AssertionError(f"not quiet after {rounds} rounds: {self.loads()}")


def test_ten_that_begin_together_are_level_within_three_polls_and_nothing_moved_twice() -> None:
    group = Group(100, random.Random(1))
    group.members = [Member(f"w{n}#{n}") for n in range(10)]
    for _ in range(3):
        group.round()
    assert group.loads() == [10] * 10
    assert set(group.moves.values()) == {1}


def test_an_eleventh_gets_its_share_and_only_that_moves() -> None:
    group = Group(100, random.Random(2))
    group.members = [Member(f"w{n}#{n}") for n in range(10)]
    group.settle(10)
    group.moves.clear()
    group.members.append(Member("new#1"))
    group.settle(12)
    assert group.loads() == [9] * 10 + [10] or group.loads() == [9] * 9 + [9, 10]
    assert group.moves.total() == len(group.moves) == 9


def test_the_leases_of_a_dead_worker_are_shared_and_no_other_moves() -> None:
    group = Group(100, random.Random(3))
    group.members = [Member(f"w{n}#{n}") for n in range(10)]
    group.settle(10)
    group.moves.clear()
    dead = group.members[3]
    dead.alive = False
    group.settle(40)
    assert max(group.loads()) - min(group.loads()) <= 1
    assert set(group.moves) == dead.held
    assert set(group.moves.values()) == {1}


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 40),
    st.lists(st.sampled_from(("join", "join", "die", "leave", "capped")), min_size=1, max_size=8),
    st.integers(0, 6),
)
def test_whatever_happens_to_a_group_it_ends_up_level(seed: int, leases: int, events: list[str], pause: int) -> None:
    dice = random.Random(seed)
    group = Group(leases, dice)
    group.members = [Member("w0#0")]
    for number, event in enumerate(events, 1):
        if event in ("join", "capped"):
            group.members.append(Member(f"w{number}#{seed % 97:x}", dice.randint(1, 5) if event == "capped" else None))
        elif len(group.living) > 1 and any(m.most is None for m in group.living[1:]):
            gone = group.living[0]
            gone.alive = False
            if event == "leave":
                gone.giving = dict.fromkeys(gone.held, 0)
                group._finish_giving(gone)
        for _ in range(dice.randint(0, pause)):
            group.round()
    group.settle(60)
    free = [len(m.held) for m in group.living if m.most is None]
    capped = [m for m in group.living if m.most is not None]
    assert sum(group.loads()) == leases
    assert max(free) - min(free) <= 1
    for member in capped:
        assert len(member.held) == member.most or max(free) - len(member.held) <= 1
