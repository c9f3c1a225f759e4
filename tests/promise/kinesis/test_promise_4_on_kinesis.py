"""Promise 4 on Kinesis and DynamoDB: one owner. The tests are those of every broker with leases in a store."""

from __future__ import annotations

import pytest

from tests.promise.workers.promise_4 import (
    test_a_frozen_worker_cannot_save_afterwards_and_its_successor_is_not_disturbed,
    test_others_take_over_soon_after_sigterm_and_after_kill_9,
)

pytestmark = pytest.mark.integration

__all__ = [
    "test_a_frozen_worker_cannot_save_afterwards_and_its_successor_is_not_disturbed",
    "test_others_take_over_soon_after_sigterm_and_after_kill_9",
]
