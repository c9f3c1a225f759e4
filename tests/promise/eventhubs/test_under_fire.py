"""Three workers, 32 partitions: killed, frozen, with an emulator that errs and a store that fails. Nothing is lost, order is kept,
whoever has lost a partition checkpoints it no more, and epochs only rise.

`python -m tests.promise.chaos.chaos --on eventhubs --kills 30 --faults` does the same for longer.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.errors import ServerUnavailableError
from streamkit_sandbox.pytest_plugin import missing

from tests.promise.eventhubs.fire import Fire, on_eventhubs_of_its_own

# Azure's own producer leaves transports behind when a link whose opening was lost is given up.
leaves_transports = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(240), leaves_transports]

OUTAGE_SECONDS = 20.0


@pytest.fixture
def fire(tmp_path: Path) -> Iterator[Fire]:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(on_eventhubs_of_its_own(tmp_path, seed))
        except ServerUnavailableError as error:
            missing(str(error))
        yield made


def test_one_is_killed_and_one_frozen_past_its_lease(fire: Fire) -> None:
    fire.light()
    fire.kill("one")
    fire.freeze("two")
    print(fire.prove())


def test_the_same_while_links_connections_and_frames_break(fire: Fire) -> None:
    fire.light()
    fire.err()
    fire.server.set_pace(20.0)
    fire.kill("one")
    fire.server.throttle(2.0)
    fire.freeze("two")
    fire.server.drop_connections()
    assert fire.server.fault_counts, "nothing has gone wrong"
    fire.calm()
    print(fire.prove())


@pytest.mark.parametrize("kill", [False, True], ids=["paused", "killed"])
def test_the_same_while_the_store_fails_for_twenty_seconds(fire: Fire, kill: bool) -> None:
    fire.light()
    fire.fail_store(OUTAGE_SECONDS, kill=kill)
    fire.kill("three")
    print(fire.prove())
