"""The rules of leases, alone: whatever three workers do with what they know, old and new, a simple model says what may come of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import CheckpointPositionError, FencedError
from streamkit.model import Lease
from streamkit.plugin import Grant, fencing, leasing
from tests.conformance.stores import after, partition

OWNERS = ("a", "b", "c")

actions = st.lists(
    st.tuples(
        st.sampled_from(["list", "take", "renew", "save", "request", "refuse", "release", "children", "claim", "overwrite", "delete"]),
        st.sampled_from(OWNERS),
        st.integers(0, 5),
    ),
    max_size=60,
)


@dataclass
class Worker:
    """What a worker knows, which may be old."""

    seen: list[Lease]
    grants: list[Grant] = field(default_factory=list)

    def grant(self, back: int) -> Grant:
        return self.grants[-1 - back % len(self.grants)] if self.grants else Grant(back)


@dataclass
class Model:
    """Who owns it by which grant, how far it is, and how many owners have got nowhere."""

    owner: str = ""
    grant: Grant | None = None
    position: int | None = None
    fruitless: int = 0
    writes: int = 0


@settings(max_examples=400)
@given(actions)
def test_whatever_three_workers_do_at_most_one_grant_counts_and_nothing_goes_back(history: list[tuple[str, str, int]]) -> None:
    row = leasing.created(Lease(partition()))
    model = Model()
    workers = {owner: Worker([leasing.lease_of(row, partition())]) for owner in OWNERS}
    given_out: list[Grant] = []
    for action, owner, number in history:
        before = row
        row = step(action, owner, number, row, model, workers[owner], given_out)
        assert row.epoch >= before.epoch
        assert row.epoch > before.epoch or row.owner == before.owner
        assert row.owner == model.owner
        assert (row.owner == "") == (model.grant is None)
        assert row.fruitless_claims == model.fruitless
        assert row.version == model.writes
        assert row.checkpoint == (None if model.position is None else after(model.position))
        accepted = [grant for grant in given_out if counts(row, grant)]
        assert accepted == ([model.grant] if model.grant is not None else [])
    assert len(set(given_out)) == len(given_out), "no grant is given twice"


def step(action: str, owner: str, number: int, row: fencing.Row, model: Model, worker: Worker, given_out: list[Grant]) -> fencing.Row:
    """One thing that one worker, or an operator, tries; the model says first whether it must be refused."""
    if action == "list":
        worker.seen.append(leasing.lease_of(row, partition()))
    elif action in ("take", "claim"):
        lease = worker.seen[-1 - number % len(worker.seen)]
        if action == "claim":
            after_it = fencing.claimed(row, partition(), owner, number)
        elif (lease.owner, lease.epoch, lease.version) != (row.owner, row.epoch, row.version):
            with pytest.raises(FencedError):
                leasing.taken(row, lease, owner)
            return row
        else:
            after_it = leasing.taken(row, lease, owner)
        claim = fencing.claim_of(after_it)
        assert after_it.handover_to == ""
        assert after_it.epoch > row.epoch
        assert claim.checkpoint == row.checkpoint
        model.fruitless += row.owner != owner or (action == "claim" and not row.fruitless_claims)
        assert claim.fruitless == max(model.fruitless - 1, 0)
        model.owner, model.grant = owner, claim.grant
        model.writes += 1
        worker.grants.append(claim.grant)
        given_out.append(claim.grant)
        return after_it
    elif action in ("request", "refuse"):
        lease, to = worker.seen[-1 - number % len(worker.seen)], owner if action == "request" else ""
        noted = leasing.handed_over(row, lease, to)
        same = (lease.owner, lease.epoch) == (row.owner, row.epoch)
        assert (noted is not None) == (same and row.handover_to in (lease.handover_to, to))
        assert noted is None or noted.handover_to == to
        return noted or row
    elif action == "overwrite":
        model.owner, model.grant, model.position, model.fruitless = "", None, number, 0
        model.writes += 1
        return fencing.overwritten(row, after(number))
    elif action == "delete":
        model.owner, model.grant, model.position, model.fruitless = "", None, None, 0
        model.writes += 1
        return fencing.forgotten(row)
    else:
        return write(action, number, row, model, worker.grant(number))
    return row


def write(action: str, number: int, row: fencing.Row, model: Model, grant: Grant) -> fencing.Row:
    """One write that needs a grant."""
    last = model.position
    position = number if last is None else last + number - 1  # one back, the same, or forward
    rules = {
        "renew": lambda: leasing.renewed(row, partition(), grant),
        "release": lambda: leasing.released(row, partition(), grant),
        "children": lambda: leasing.with_children(row, partition(), grant, ["x"]),
        "save": lambda: fencing.saved(row, after(position), grant),
    }
    if grant != model.grant:
        with pytest.raises(FencedError):
            rules[action]()
        return row
    if action == "save" and last is not None and position < last:
        with pytest.raises(CheckpointPositionError):
            rules[action]()
        return row
    found = rules[action]()
    model.writes += 1
    if action == "release":
        assert found.handover_to == row.handover_to
        model.owner, model.grant, model.fruitless = "", None, 0
    if action == "save":
        model.fruitless = model.fruitless if position == last else 0
        model.position = position
    return found


def counts(row: fencing.Row, grant: Grant) -> bool:
    try:
        leasing.renewed(row, partition(), grant)
    except FencedError:
        return False
    return True
