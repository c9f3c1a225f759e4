"""Order by key and concurrency refuse code that cannot run beside itself, by name and with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from streamkit.errors import ConfigurationError
from streamkit.model import Batch, Record
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import Harness


@record_processor
def fine(record: Record, context: Context) -> None:
    return None


class Plain(Processor):
    def process(self, batch: Batch, context: Context) -> None:
        return None


class Flushing(Processor):
    reentrant = True

    def process(self, batch: Batch, context: Context) -> None:
        return None

    def flush(self, context: Context) -> None:
        return None


@processor(checkpoint="manual")
def manual(batch: Batch, context: Context) -> None:
    return None


@processor(reentrant=False)
def alone(batch: Batch, context: Context) -> None:
    return None


@pytest.mark.parametrize(
    ("target", "settings", "says", "fix"),
    [
        (fine, {"concurrency": 2}, "2 calls at once cannot keep the order of a partition", "STREAMKIT_ORDERING=key"),
        (Plain, {"ordering": "key"}, "not reentrant", "reentrant=True"),
        (alone, {"ordering": "key", "concurrency": 2}, "not reentrant", "reentrant=True"),
        (Flushing, {"ordering": "key"}, "has a flush", "set it to partition"),
        (manual, {"ordering": "key"}, "checkpoints manually", "set it to partition"),
    ],
)
def test_what_cannot_run_beside_itself_refuses_to_start(target: object, settings: dict[str, Any], says: str, fix: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        Harness(target, **settings)
    assert fix in refused.value.fix
    assert refused.value.setting.startswith("STREAMKIT_")


class Declared(Processor):
    reentrant = True

    def process(self, batch: Batch, context: Context) -> None:
        return None


@pytest.mark.parametrize("target", [fine, Declared])
def test_what_says_that_it_may_be_called_several_times_at_once_starts(target: object) -> None:
    with Harness(target, ordering="key", concurrency=3) as h:
        h.deliver(b"a")
        assert h.checkpoint == 0
