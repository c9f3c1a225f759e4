"""Workers killed with -9 at random moments, while handlers fail, hang and put records aside: nothing is lost, keys keep their order.

`python -m tests.promise.chaos.chaos --kills 200` does the same for longer.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.promise.chaos.chaos import chaos_on_kafka, chaos_on_leases

KILLS = 10
SECONDS = 20.0


@pytest.mark.integration
@pytest.mark.timeout(240)
def test_on_leases_in_one_sqlite_file(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with chaos_on_leases(tmp_path, SECONDS, seed) as (chaos, count):
        print(chaos.run(KILLS, count))


@pytest.mark.integration
@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ["classic", "consumer"], ids=["classic", "kip-848"])
def test_on_a_kafka_group(tmp_path: Path, kafka_server, protocol: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    with chaos_on_kafka(tmp_path, kafka_server.bootstrap_servers, protocol, SECONDS, seed) as (chaos, count):
        print(chaos.run(KILLS, count))
