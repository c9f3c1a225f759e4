"""The real KCL goes on with rows that were exported, and streamkit with what it has made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.dynamodb.tests.integration.test_exchange import World, shard, world

__all__ = ["world"]

pytestmark = pytest.mark.integration


@pytest.mark.timeout(300)  # the KCL takes its time, and more on a busy machine
def test_the_kcl_goes_on_behind_an_export_and_an_import_behind_the_kcl(
    world: World,
    kinesis_server: Any,
    dynamodb_server: Any,
    tmp_path: Path,
) -> None:
    from streamkit_sandbox.kcl import KclDaemon

    done, _ = world.sequences
    later = [world.put(0), world.put(1)]
    assert world("checkpoints", "set", "--all", "earliest").code == 0
    file = tmp_path / "positions.jsonl"
    lines = world("checkpoints", "export").out.splitlines()
    file.write_text("\n".join(line.replace('"earliest"', f'"after 1:{done}:0:"') if shard(0) in line else line for line in lines))
    assert world("checkpoints", "import", str(file)).code == 0
    assert world.checkpoints() == {shard(0): f"after {done}", shard(1): "earliest"}
    assert world("checkpoints", "export", "--to", "kcl", "--table", world.table).code == 0

    daemon = KclDaemon(world.stream, world.table, kinesis_url=kinesis_server.endpoint_url, dynamodb_url=dynamodb_server.endpoint_url)
    with daemon:
        daemon.wait_for_records(3)
        alive = world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--watch", "10")
        assert alive.code == 1
        assert "kcl, counter" in alive.err
        daemon.stop()
        delivered = {record.sequence for record in daemon.records()}
    assert delivered == {int(later[0]), int(world.sequences[1]), int(later[1])}

    again = world("checkpoints", "import", "--from", "kcl", "--table", world.table, "--watch", "5")
    assert again.code == 0, again.err
    assert world.checkpoints() == {shard(0): f"after {later[0]}", shard(1): f"after {later[1]}"}
