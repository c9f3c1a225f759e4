"""The table: made if it is not there, waited for, and refused by what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.table import Table, table_name

from plugins.dynamodb.tests.service import Service, client_error, lost
from streamkit.errors import AccessDeniedError, ConfigurationError, StoreNotReadyError, StoreThrottledError


class Clock:
    def __init__(self, service: Service, *, active_after: float = 1e9) -> None:
        self.now = 0.0
        self.service = service
        self.active_after = active_after

    def wait(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.active_after and self.service.table is not None:
            self.service.table["TableStatus"] = "ACTIVE"


def table(service: Service, clock: Clock, **settings: Any) -> Table:
    return Table(service, "leases", DynamoDBSettings(**settings), lambda: clock.now, clock.wait)


def made(**settings: Any) -> dict[str, Any]:
    service = Service()
    service.table = None
    clock = Clock(service, active_after=3.0)
    table(service, clock, **settings).open()
    assert clock.now >= 3.0, "it is waited for until it is ACTIVE"
    (request,) = [request for name, request in service.calls if name == "CreateTable"]
    return request


def test_a_table_that_is_not_there_is_made_as_the_kcl_makes_it() -> None:
    assert made() == {
        "TableName": "leases",
        "KeySchema": [{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "leaseKey", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }


def test_a_table_is_made_as_the_settings_say() -> None:
    request = made(billing="provisioned", read_units=5, write_units=7, tags={"team": "a"}, deletion_protection=True)
    assert request["BillingMode"] == "PROVISIONED"
    assert request["ProvisionedThroughput"] == {"ReadCapacityUnits": 5, "WriteCapacityUnits": 7}
    assert request["Tags"] == [{"Key": "team", "Value": "a"}]
    assert request["DeletionProtectionEnabled"] is True


def test_units_without_provisioned_billing_are_refused() -> None:
    with pytest.raises(ValidationError, match="BILLING=provisioned"):
        DynamoDBSettings(read_units=5)


def test_a_table_that_another_worker_makes_meanwhile_is_waited_for() -> None:
    service = Service()
    table_then, service.table = service.table, None

    def made_by_another(name: str) -> None:
        service.table = table_then

    service.before = [lambda name: None, made_by_another]
    table(service, Clock(service)).open()


def test_a_table_that_does_not_become_active_is_named_with_what_it_is() -> None:
    service = Service()
    assert service.table is not None
    service.table["TableStatus"] = "DELETING"
    clock = Clock(service)
    with pytest.raises(StoreNotReadyError, match="DELETING"):
        table(service, clock).open()
    assert clock.now >= 120
    assert service.count("DescribeTable") < 200, "no hot loop"


def test_a_table_with_more_attributes_and_an_index_is_a_lease_table() -> None:
    """The KCL 3 adds an index over leaseOwner."""
    service = Service()
    assert service.table is not None
    service.table["AttributeDefinitions"].append({"AttributeName": "leaseOwner", "AttributeType": "S"})
    service.table["TableStatus"] = "UPDATING"
    table(service, Clock(service)).open()
    assert service.count("CreateTable") == 0


@pytest.mark.parametrize(
    ("schema", "kinds", "says"),
    [
        ([("ShardID", "HASH")], {"ShardID": "S"}, "ShardID (HASH, S), and should be leaseKey (HASH, S); vmware-go-kcl or gokini made it"),
        ([("leaseKey", "HASH")], {"leaseKey": "N"}, "leaseKey (HASH, N)"),
        ([("leaseKey", "HASH"), ("x", "RANGE")], {"leaseKey": "S", "x": "N"}, "leaseKey (HASH, S), x (RANGE, N)"),
    ],
)
def test_a_table_of_another_kind_is_named_precisely(schema: list[tuple[str, str]], kinds: dict[str, str], says: str) -> None:
    service = Service()
    assert service.table is not None
    service.table["KeySchema"] = [{"AttributeName": name, "KeyType": kind} for name, kind in schema]
    service.table["AttributeDefinitions"] = [{"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()]
    with pytest.raises(ConfigurationError) as caught:
        table(service, Clock(service)).open()
    assert says in str(caught.value)
    assert caught.value.setting == "STREAMKIT_DYNAMODB__TABLE"


def test_missing_rights_and_throttling_are_told() -> None:
    for error, kind in (
        (client_error("AccessDeniedException", "CreateTable", "not authorized to perform: dynamodb:CreateTable on"), AccessDeniedError),
        (client_error("LimitExceededException", "CreateTable"), StoreThrottledError),
    ):
        service = Service()
        service.table = None

        def refuse(name: str, error: Exception = error) -> None:
            if name == "CreateTable":
                raise error

        service.before = [refuse] * 1000
        clock = Clock(service)
        with pytest.raises(kind):
            table(service, clock).open()
        assert (clock.now > 10) == (kind is StoreThrottledError), "what time does not mend ends at once"


def test_a_start_is_patient_with_a_service_that_does_not_answer() -> None:
    service = Service()
    table_then, service.table = service.table, None

    def fail(name: str) -> None:
        raise lost()

    def fail_and_make(name: str) -> None:
        service.table = table_then
        raise lost()

    service.before = [fail, lambda name: None, fail, lambda name: None, fail_and_make, *[fail] * 10]
    table(service, Clock(service)).open()
    assert service.count("CreateTable") >= 2


def test_the_table_is_called_as_the_group_is() -> None:
    assert table_name(DynamoDBSettings(), "billing.v2") == "billing.v2"
    assert table_name(DynamoDBSettings(table="leases"), "g") == "leases"
    assert table_name(DynamoDBSettings(table="leases"), "g.replay") == "leases.replay"  # an application's table has room for one group
    assert table_name(DynamoDBSettings(), "billing.replay") == "billing.replay"
    for group in ("ab", "a group", "é" * 5, "x" * 256):
        with pytest.raises(ConfigurationError, match="STREAMKIT_DYNAMODB__TABLE"):
            table_name(DynamoDBSettings(), group)
