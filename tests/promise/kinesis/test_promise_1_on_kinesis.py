"""Promise 1 on Kinesis and DynamoDB: at least once. The tests are those of every broker with leases in a store."""

from __future__ import annotations

import pytest

from tests.promise.workers.promise_1 import (
    test_a_record_that_fails_is_never_passed,
    test_nothing_is_lost_when_workers_die_and_records_fail,
)

pytestmark = pytest.mark.integration

__all__ = ["test_a_record_that_fails_is_never_passed", "test_nothing_is_lost_when_workers_die_and_records_fail"]
