"""The KCL's daemon as a process; what it does with a stream is in tests/promise/test_kcl_hand_over.py."""

from __future__ import annotations

import pytest
from streamkit_sandbox.dynamodb import DynamoDBServer
from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.kcl import KclDaemon, fetched_kcl
from streamkit_sandbox.pytest_plugin import missing

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def kcl_jars() -> None:
    """Fetched before a test's time begins."""
    try:
        fetched_kcl()
    except ServerUnavailableError as error:
        missing(str(error))


def test_a_daemon_that_ends_by_itself_is_an_error_with_its_last_words(kcl_jars: None, dynamodb_server: DynamoDBServer) -> None:
    # DynamoDB wants three characters; the daemon exits with 0 as if all were well.
    url, impatient = dynamodb_server.endpoint_url, {"schedulerInitializationBackoffTimeMillis": "10"}
    with KclDaemon("orders", "ab", kinesis_url=url, dynamodb_url=url, properties=impatient) as daemon:
        folder = daemon.log.parent
        with pytest.raises(SandboxError, match="ended by itself with 0") as caught:
            daemon.wait_for_records(1, 60)
        assert "Unable to initialize after 20 attempts" in str(caught.value)
        assert not daemon.running
    assert not folder.exists()
