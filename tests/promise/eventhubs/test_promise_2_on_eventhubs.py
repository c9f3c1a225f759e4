"""Promise 2 on Event Hubs and Blob Storage: a start is resolved once. The tests are those of every broker with leases in a store."""

from __future__ import annotations

import pytest

from tests.promise.workers.promise_2 import test_latest_and_kills_before_the_first_checkpoint_lose_nothing

pytestmark = pytest.mark.integration

__all__ = ["test_latest_and_kills_before_the_first_checkpoint_lose_nothing"]
