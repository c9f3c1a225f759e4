"""A batch of the client's messages: what it weighs."""

from __future__ import annotations

import random
from itertools import pairwise

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st
from streamkit_kafka.record import KafkaBatch

from streamkit.model import Batch, Partition

P0 = Partition("orders", "0")


def batch(sizes: list[int], first: int = 0) -> KafkaBatch:
    return KafkaBatch(
        P0, [Message(topic="orders", partition=0, offset=first + n, value=b"x" * size) for n, size in enumerate(sizes)], 0.0, None
    )


@given(st.integers(1, 600), st.randoms(use_true_random=False), st.data())
def test_what_the_slices_of_a_batch_weigh_adds_up_to_what_the_batch_was_said_to_weigh(
    count: int, chance: random.Random, data: st.DataObject
) -> None:
    """Weights are added when a batch is offered and taken away slice by slice: any difference would add up for ever."""
    sizes = [chance.randrange(2000) for _ in range(count)]
    cut = data.draw(st.integers(1, len(sizes)))
    parts = [batch(sizes[:cut]), *([batch(sizes[cut:], cut)] if sizes[cut:] else [])]
    offered = sum(part.bytes for part in parts)
    whole = Batch.join(parts)
    cuts = sorted({0, len(sizes), *data.draw(st.lists(st.integers(0, len(sizes)), max_size=8))})
    slices = [whole.slice(start, stop) for start, stop in pairwise(cuts)]
    assert sum(one.bytes for one in slices) == offered
    nested = [one.slice(start, stop) for one in slices for start, stop in pairwise(sorted({0, len(one) // 3, len(one)}))]
    assert sum(one.bytes for one in nested) == offered


def test_a_long_run_is_weighed_by_a_sample_a_short_one_exactly() -> None:
    assert batch([3, 5, 7]).bytes == 15
    assert 90 <= batch([100] * 500).bytes / 500 <= 110
