"""Promise 5 on Kinesis and DynamoDB: checkpoints move forward only. The tests are those of every broker with leases in a store."""

from __future__ import annotations

import pytest

from tests.promise.workers.promise_5 import test_only_an_operator_sets_a_checkpoint_back_and_whoever_was_there_is_fenced

pytestmark = pytest.mark.integration

__all__ = ["test_only_an_operator_sets_a_checkpoint_back_and_whoever_was_there_is_fenced"]
