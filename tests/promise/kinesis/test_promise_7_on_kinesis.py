"""Promise 7 on Kinesis and DynamoDB: a failure stays small. The tests are those of every broker with leases in a store."""

from __future__ import annotations

import pytest

from tests.promise.workers.promise_7 import (
    test_a_partition_that_halts_holds_up_no_other_and_the_page_says_which,
    test_a_store_that_refuses_stops_nobody,
)

pytestmark = pytest.mark.integration

__all__ = ["test_a_partition_that_halts_holds_up_no_other_and_the_page_says_which", "test_a_store_that_refuses_stops_nobody"]
