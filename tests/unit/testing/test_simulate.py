"""`simulate`: what it finds in a processor, what it says then, and that this can be played again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from streamkit import App, Batch, Context, Processor, Record, Retry, processor, record_processor
from streamkit.errors import ConfigurationError
from streamkit.plugin import NewRecord
from streamkit.testing import SimulationFailed, simulate
from streamkit.testing.simulation import KINDS, RULES, Broken, Plan, Report, World, subject_of
from streamkit.testing.simulation.chance import plan_of
from streamkit.testing.simulation.run import lived, planned

ONE_WORKER = """streamkit simulation 1
seed=1 ownership=lease shape=kafka own_store=no partitions=1 changes=0
0 write 1
0 join w1
"""
SETTLED: set[bytes | None] = set()


@record_processor
def settles(record: Record, context: Context) -> None:
    SETTLED.add(record.value)


def nothing_is_missing(records: Sequence[Record]) -> None:
    missing = [record.value for record in records if record.value not in SETTLED]
    assert not missing, f"{missing[0]!r} is missing"


class Forgetful(Processor):
    """Keeps records in memory and has no flush: what a crash takes with it is never seen again."""

    def initialize(self, context: Context) -> None:
        self.waiting: list[bytes | None] = []

    def process(self, batch: Batch, context: Context) -> None:
        self.waiting.extend(batch.values())
        if len(self.waiting) > 5:
            self.hand_in()

    def hand_in(self) -> None:
        SETTLED.update(self.waiting)
        self.waiting.clear()

    def partition_revoked(self, context: Context) -> None:
        self.hand_in()

    def partition_ended(self, context: Context) -> None:
        self.hand_in()


def test_a_sound_processor_lives_through_everything() -> None:
    report = simulate(settles, seeds=10, setup=SETTLED.clear, check=nothing_is_missing)
    assert report.lives == 10
    assert report.min_changes >= 3
    assert "10 lives from seed 0 on" in str(report)


def test_a_processor_that_forgets_is_found_and_the_text_that_is_printed_shows_it_again() -> None:
    with pytest.raises(SimulationFailed, match="is missing") as failed:
        simulate(Forgetful, setup=SETTLED.clear, check=nothing_is_missing)
    assert failed.value.rule == "your own check"
    assert failed.value.replay in str(failed.value)
    with pytest.raises(SimulationFailed, match="is missing") as again:
        simulate(Forgetful, setup=SETTLED.clear, check=nothing_is_missing, replay=failed.value.replay)
    assert again.value.trace == failed.value.trace
    with pytest.raises(SimulationFailed, match="is missing"):
        simulate(Forgetful, setup=SETTLED.clear, check=nothing_is_missing, seed=failed.value.seed, shrink=False)


def test_what_is_shown_is_small() -> None:
    with pytest.raises(SimulationFailed) as failed:
        simulate(Forgetful, setup=SETTLED.clear, check=nothing_is_missing)
    plan = failed.value.plan
    assert len(plan.steps) <= 6
    assert plan.partitions == 1
    assert not [step for step in plan.steps if step.words[0] == "write" and int(step.words[1]) > 3]


def test_the_same_processor_with_a_flush_is_sound() -> None:
    class Remembering(Forgetful):
        def flush(self, context: Context) -> None:
            self.hand_in()

    simulate(Remembering, seeds=15, setup=SETTLED.clear, check=nothing_is_missing)


def test_a_record_that_never_succeeds_is_told_by_its_partition_and_its_error() -> None:
    @record_processor
    def picky(record: Record, context: Context) -> None:
        if record.value == b"record 7":
            raise LookupError("no such order")

    with pytest.raises(SimulationFailed, match="goes on: after 120s of peace") as failed:
        simulate(picky, seeds=1, shrink=False)
    assert "no such order" in str(failed.value)


def test_the_failure_policy_may_pass_it() -> None:
    @record_processor
    def picky(record: Record, context: Context) -> None:
        if record.value == b"record 7":
            raise LookupError("no such order")

    for policy in ("skip", "dead_letter", "park"):
        report = simulate(picky, seeds=6, on_failure=policy)
        assert report.events[policy]


def test_a_checkpoint_before_the_work_is_the_codes_own_word_and_its_check_finds_it() -> None:
    @processor(checkpoint="manual")
    async def hasty(batch: Batch, context: Context) -> None:
        context.checkpoint(batch.last)
        await asyncio.sleep(0.05)
        SETTLED.update(batch.values())

    with pytest.raises(SimulationFailed, match="is missing"):
        simulate(hasty, setup=SETTLED.clear, check=nothing_is_missing, shrink=False)


def test_a_worker_that_has_died_goes_no_step_further() -> None:
    @record_processor
    async def slow(record: Record, context: Context) -> None:
        await asyncio.sleep(1.0)
        after.append(world.runtime.monotonic())

    after: list[float] = []
    plan = Plan.from_text(f"{ONE_WORKER}0.5 crash w1\n")
    world = World(plan, subject_of(slow))
    world.live()
    assert min(after) > 3.0, "the call of the dead worker has had its effect"


def test_records_are_made_as_the_test_wants_them() -> None:
    seen: set[tuple[bytes | None, bytes | None]] = set()

    @record_processor
    def looks(record: Record, context: Context) -> None:
        seen.add((record.key, record.value))

    simulate(looks, seeds=1, records=lambda number: NewRecord(b"%d" % number, b"k"))
    assert {(b"k", b"0"), (b"k", b"20")} <= seen
    simulate(looks, seeds=1, records=lambda number: b"plain")
    assert (None, b"plain") in seen


def test_an_app_brings_its_settings_but_not_its_broker() -> None:
    orders = App(settles, broker="kafka", stream="orders", group="g", ordering="key", max_in_flight=30)
    subject = subject_of(orders)
    assert subject.settings == {"ordering": "key", "max_in_flight": 30}
    assert ("concurrency", "5") in {pair for seed in range(20) for pair in planned(seed, subject).settings}
    assert simulate(orders, seeds=3).lives == 3


def test_settings_that_do_not_go_together_are_refused() -> None:
    class Flushes(Processor):
        def flush(self, context: Context) -> None:
            """Nothing."""

    with pytest.raises(ConfigurationError, match="not reentrant"):
        simulate(Flushes, ordering="key")


def test_seeds_by_chance_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report = simulate(settles, seeds=1, first=None)
    assert capsys.readouterr().out == f"simulation: from seed {report.first} on\n"


def test_a_quiet_life_does_not_count() -> None:
    subject = subject_of(settles)
    quiet = Plan.from_text(ONE_WORKER)
    report = Report(1)
    report.add(lived(quiet, subject))
    assert (report.lives, report.quiet) == (0, 1)
    report.add(lived(planned(1, subject), subject))
    assert (report.lives, report.quiet) == (1, 1)


def test_lives_that_are_all_quiet_prove_nothing_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.testing.simulation.run.MIN_KINDS", len(KINDS) + 1)
    with pytest.raises(AssertionError, match="too little happens in these lives"):
        simulate(settles, seeds=1)


def test_a_kind_of_trouble_that_is_too_rare_is_an_error() -> None:
    often = Report(0, lives=100, kinds=Counter(dict.fromkeys(KINDS, 20)))
    often.check()
    rare = Report(0, lives=100, kinds=Counter({**dict.fromkeys(KINDS, 20), "stalls": 19}))
    with pytest.raises(AssertionError, match="less than a fifth of the lives: stalls;"):
        rare.check()


@pytest.mark.parametrize("seed", range(30))
def test_a_plan_is_text_and_back(seed: int) -> None:
    plan = plan_of(seed, by_key=seed % 2 == 1)
    assert Plan.from_text(plan.to_text()) == plan


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with the line"),
        ("streamkit simulation 1\nseed=1\n", "does not say ownership="),
        ("streamkit simulation 1\nseed\n", "line 2 of the replay cannot be read: 'seed'"),
        ("streamkit simulation 1\nseed=1 ownership=x shape=kafka own_store=no partitions=1 changes=0", "no ownership=x"),
    ],
)
def test_a_replay_that_cannot_be_read_says_where(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(settles, replay=text)


def test_a_processor_may_answer_for_single_records() -> None:
    @processor
    def half(batch: Batch, context: Context) -> object:
        records = list(batch)
        return {records[-1]: Retry()} if context.attempt == 1 and len(records) > 1 else None

    assert simulate(half, seeds=5).lives == 5


def test_every_rule_has_a_name_that_failures_know() -> None:
    assert str(Broken("order", "x")) == "order: x"
    assert "order" in RULES


def test_many_lives_in_several_processes(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from streamkit import record_processor\n\n@record_processor\ndef handle(record, context):\n    print(record.value)\n"
    )
    command = [sys.executable, "-m", "streamkit.testing.simulation", "mine:handle", "--seeds", "4", "--processes", "2", "--first", "5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("simulation: from seed 5 on\n4 lives from seed 5 on, 0 quiet ones besides")
