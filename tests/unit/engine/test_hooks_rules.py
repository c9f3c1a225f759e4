"""What holds of the hooks in every history: random commands, slow and failing hooks, and a grammar that each assignment obeys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import DrainTimeoutError
from streamkit.model import Batch, Position
from streamkit.processing import Context, LostContext, Processor
from streamkit.testing import Harness
from streamkit.testing.recording import HOOKS

LETTERS = dict(zip(HOOKS, "ipferlc", strict=True))
WHOLE = re.compile(r"i+(c|[pf]*e*(f?e)*(f?r|l)?c)")
"""initialize (again and again), then only close; or work, perhaps the end, perhaps a revoke (after a flush) or a loss, and close."""
PREFIX = re.compile(r"(i+([pf]*e*(f?e)*(f?r|l)?c?)?|i+c)?")

commands = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 5)),
        st.tuples(st.just("advance"), st.sampled_from([0.05, 0.7, 3.0, 40.0])),
        st.tuples(st.sampled_from(["revoke", "revoke briefly", "lose", "assign", "crash", "end"]), st.none()),
    ),
    max_size=14,
)
troubles = st.dictionaries(st.sampled_from(HOOKS), st.tuples(st.sampled_from([0.0, 0.5, 5.0]), st.integers(0, 3)), max_size=3)


def troubled(plan: dict[str, tuple[float, int]], overlaps: list[str]) -> type[Processor]:
    """Each hook takes so long and fails so often; two at once are noted."""
    left = {hook: failures for hook, (_, failures) in plan.items()}

    def made(hook: str) -> Callable[..., object]:
        async def body(self: Processor, *args: Batch | Context | LostContext) -> None:
            if getattr(self, "busy", ""):
                overlaps.append(f"{hook} beside {self.busy}")  # type: ignore[attr-defined]
            self.busy = hook  # type: ignore[attr-defined]
            await asyncio.sleep(plan.get(hook, (0.0, 0))[0])
            self.busy = ""  # type: ignore[attr-defined]
            if left.get(hook, 0) > 0:
                left[hook] -= 1
                raise ValueError(hook)

        return body

    return type("Troubled", (Processor,), {hook: made(hook) for hook in HOOKS})


def perform(h: Harness, command: str, argument: object) -> None:
    if command == "write" and isinstance(argument, int):
        h.write(*[b"x"] * (0 if h.script.ended else argument))
    elif command == "advance" and isinstance(argument, float):
        h.advance(argument)
    elif command == "revoke briefly":
        h.revoke(deadline=1.0)
    elif command == "end":
        h.script.ended[h._first(None)] = ()
    elif command == "assign":
        h._hold(set(h._named(())))
    else:
        getattr(h, command)()


@settings(max_examples=90, deadline=None)
@given(commands, troubles, st.integers(0, 3))
def test_every_assignment_obeys_the_grammar_and_no_two_hooks_overlap(
    history: list[tuple[str, object]], plan: dict[str, tuple[float, int]], seed: int
) -> None:
    overlaps: list[str] = []
    cuts: list[int] = []
    h = Harness(troubled(plan, overlaps), seed=seed, assigned=False, checkpoint_interval="2s", retry_attempts=2, max_batch=2)
    with h:
        for command, argument in history:
            perform(h, command, argument)
            if command == "crash":
                cuts.append(len(h.calls))
        try:
            h.stop()
        except DrainTimeoutError:
            cuts.append(len(h.calls))
        assert h.errors is not None
    text = "".join(LETTERS[call.hook] for call in h.calls)
    lives = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    for index, life in enumerate(lives):
        *whole, rest = re.split(r"(?<=c)", life)
        assert all(WHOLE.fullmatch(assignment) for assignment in whole), lives
        assert (PREFIX if index < len(cuts) else re.compile("")).fullmatch(rest), lives
    assert overlaps == []


@settings(max_examples=40, deadline=None)
@given(commands, troubles)
def test_no_record_is_lost_and_no_checkpoint_passes_one_that_is_not_done(
    history: list[tuple[str, object]], plan: dict[str, tuple[float, int]]
) -> None:
    done: set[int] = set()
    delays = {hook: (seconds, failures) for hook, (seconds, failures) in plan.items() if hook != "initialize"}
    base = troubled(delays, [])

    class Noting(base):  # type: ignore[valid-type,misc]
        async def process(self, batch: Batch, context: Context) -> None:
            await super().process(batch, context)
            done.update(record.position.sequence or 0 for record in batch)

    h = Harness(Noting, assigned=False, checkpoint_interval="2s", retry_attempts=3, max_batch=2)

    def check() -> None:
        saved = h.checkpoint
        count = len(h.script.logs[h._first(None)]) if isinstance(saved, Position) else (saved or -1) + 1
        assert set(range(count)) <= done

    with h:
        for command, argument in history:
            perform(h, command, argument)
            check()
        if not h.script.ended:
            h.deliver(b"last")
            while h.halted is not None:
                h.advance(400)
                h.settle()
            check()
            assert h.checkpoint == len(h.script.logs[h._first(None)]) - 1
        try:
            h.stop()
        except DrainTimeoutError:
            check()
        assert h.errors is not None


@pytest.mark.parametrize("how", ["revoke", "lose", "end", "stop"])
def test_exactly_one_hook_tells_the_end(how: str) -> None:
    with Harness(troubled({}, [])) as h:
        h.write(b"a")
        h.advance(1)
        getattr(h, how)()
        ends = [hook for hook in h.hooks if hook in ("partition_ended", "partition_revoked", "partition_lost")]
        assert ends == [
            {"revoke": "partition_revoked", "stop": "partition_revoked", "lose": "partition_lost", "end": "partition_ended"}[how]
        ]


def test_a_partition_whose_end_could_not_be_saved_is_told_that_it_was_lost() -> None:
    from streamkit.errors import StoreUnavailableError

    with Harness(troubled({}, [])) as h:
        h.script.ended[h._first(None)] = ()
        h.script.fail("save", StoreUnavailableError("gone"), times=3)
        h.advance(0.3)
        h.revoke(deadline=0.3)
        assert h.hooks[-3:] == ["partition_ended", "partition_lost", "close"]
        h.script.failures.clear()
        h.assign()  # and the next owner is told the end again
        h.settle()
        assert h.hooks[-4:] == ["initialize", "flush", "partition_ended", "close"]
        assert h.checkpoint == Position.END
