"""What holds of the policies in every history: random failures, crashes, rebalances and targets that are away."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import BrokerUnavailableError, StoreUnavailableError
from streamkit.model import Batch, Record
from streamkit.outcome import Outcome, Reject, Retry
from streamkit.processing import Context, processor, record_processor
from streamkit.testing import Harness

RECORDS = 24
Kind = str
commands = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.sampled_from([0.05, 0.7, 3.0, 40.0])),
        st.tuples(st.sampled_from(["crash", "revoke", "lose", "assign", "no letters", "no saves"]), st.none()),
    ),
    max_size=12,
)
failures = st.dictionaries(st.integers(0, RECORDS - 1), st.sampled_from(["once", "thrice", "poison", "reject"]), max_size=7)


class Code:
    """A handler of one kind; `done` holds what a call finished, in order, and None between owners."""

    def __init__(self, failing: Mapping[int, str]) -> None:
        self.failing = failing
        self.left = {position: {"once": 1, "thrice": 3, "poison": 10**9, "reject": 10**9}[how] for position, how in failing.items()}
        self.done: list[int] = []

    def fate(self, position: int) -> Outcome | None:
        """Raises, rejects, or lets it pass."""
        if self.left.get(position, 0) > 0:
            self.left[position] -= 1
            if self.failing[position] == "reject":
                return Reject("no")
            raise ValueError(position)
        return None

    def of(self, kind: Kind) -> Callable[..., object]:
        @record_processor
        def by_record(record: Record, context: Context) -> Outcome | None:
            position = record.position.sequence or 0
            if (outcome := self.fate(position)) is None:
                self.done.append(position)
            return outcome

        @processor
        async def by_batch(batch: Batch, context: Context) -> Outcome | None:
            found = [record.position.sequence or 0 for record in batch]
            for position in found:
                if (outcome := self.fate(position)) is not None:
                    return outcome
            self.done.extend(found)
            return None

        @processor
        def by_name(batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
            for record in batch:
                position = record.position.sequence or 0
                try:
                    outcome = self.fate(position)
                except ValueError:
                    outcome = Retry()
                if outcome is not None:
                    return {record: outcome}
                self.done.append(position)
            return None

        kinds: dict[Kind, Callable[..., object]] = {"record": by_record, "batch": by_batch, "name": by_name}
        return kinds[kind]


@settings(max_examples=25, deadline=None)
@given(
    failures,
    commands,
    st.sampled_from(["record", "batch", "name"]),
    st.sampled_from(["skip", "dead_letter"]),
    st.integers(1, 4),
    st.integers(0, 1000),
)
def test_every_record_is_done_or_put_aside_and_none_without_reason(
    failing: dict[int, str], script: list[tuple[str, object]], kind: Kind, policy: str, attempts: int, seed: int
) -> None:
    code = Code(failing)
    with Harness(
        code.of(kind),
        on_failure=policy,
        retry_attempts=attempts,
        bisect=kind == "batch",
        seed=seed,
        retry_backoff="50ms",
        checkpoint_interval="1s",
        max_batch=7,
    ) as h:
        h.write(*[b"%d" % number for number in range(RECORDS)])
        for name, argument in script:
            if name == "advance":
                h.advance(float(str(argument)))
            elif name == "no letters":
                h.script.fail("send", BrokerUnavailableError("away"), times=2)
            elif name == "no saves":
                h.script.fail("save", StoreUnavailableError("away"), times=2)
            else:
                getattr(h, name)()
        h.script.failures.clear()
        for _ in range(12):
            h.assign()
            h.advance(301)  # the longest halt
            if h.checkpoint == RECORDS - 1:
                break
        assert h.checkpoint == RECORDS - 1
        aside = {sequence for sequence, _ in h.put_aside}
        assert set(code.done) | aside == set(range(RECORDS)), "nothing is lost"
        assert aside <= failing.keys(), "no good record is put aside"
        assert {position for position, how in failing.items() if how in ("poison", "reject")} <= aside
        assert not aside - {int(letter.value or b"-1") for letter in h.dead_letters} or policy == "skip"
        firsts = [position for position in dict.fromkeys(code.done) if position not in aside]
        assert firsts == sorted(firsts), "what is new comes in order; what was put aside may be delivered again after a loss, and succeed"
