"""Makes tests of rules: `test_rules = broker_rules("my_fixture")`. The rules themselves are in the files beside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from streamkit.model import Capabilities
from streamkit.testing.conformance import (
    broker_batches,
    broker_control,
    broker_discovery,
    broker_ends,
    broker_groups,
    broker_lifecycle,
    broker_owners,
    broker_reading,
    broker_starts,
    lease_handing,
    lease_taking,
    producers,
    store_keeping,
    store_lifecycle,
    store_rivals,
    store_saving,
)
from streamkit.testing.conformance.broker_bench import BrokerBench
from streamkit.testing.conformance.kit import BrokerKit, StoreKit
from streamkit.testing.conformance.rule import Rule, rules_of
from streamkit.testing.conformance.store_bench import StoreBench

__all__ = ["BROKER_RULES", "STORE_RULES", "broker_rules", "check", "store_rules"]

BROKER_RULES: Sequence[Rule[BrokerBench]] = rules_of(
    broker_lifecycle,
    broker_groups,
    broker_owners,
    broker_discovery,
    broker_reading,
    broker_starts,
    broker_control,
    broker_batches,
    broker_ends,
    producers,
)
STORE_RULES: Sequence[Rule[StoreBench]] = rules_of(store_lifecycle, store_saving, store_keeping, lease_taking, lease_handing, store_rivals)


def broker_rules(fixture: str) -> Callable[..., None]:
    """Every rule about brokers as a test; `fixture` names a fixture of the caller's that yields a `BrokerKit`."""
    return _tests(fixture, BROKER_RULES, BrokerKit)


def store_rules(fixture: str) -> Callable[..., None]:
    """Every rule about stores as a test; `fixture` names a fixture of the caller's that yields a `StoreKit`, with no rows in it."""
    return _tests(fixture, STORE_RULES, StoreKit)


def _tests(fixture: str, rules: Sequence[Rule[Any]], kind: type[BrokerKit] | type[StoreKit]) -> Callable[..., None]:
    @pytest.mark.usefixtures(fixture)
    @pytest.mark.parametrize("rule", rules, ids=str)
    def test_rules(rule: Rule[Any], request: pytest.FixtureRequest) -> None:
        kit = request.getfixturevalue(fixture)
        assert isinstance(kit, kind), f"the fixture {fixture!r} yields {kit!r}, and should yield a {kind.__name__}"
        check(rule, kit)

    tests: Callable[..., None] = test_rules
    return tests


def check(rule: Rule[Any], kit: BrokerKit | StoreKit) -> None:
    """Look whether a rule holds: returns, skips, or fails. On a loop of its own, like each of them."""
    known = {one.id for one in (BROKER_RULES if isinstance(kit, BrokerKit) else STORE_RULES)}
    strange = sorted(set(kit.excused) - known)
    assert not strange, f"{type(kit).__name__}.excused names {', '.join(strange)}, and there is no such rule"
    if rule.id in kit.excused:
        assert kit.excused[rule.id], f"{type(kit).__name__}.excused gives no reason for {rule.id}"
        pytest.skip(f"excused: {kit.excused[rule.id]}")
    asyncio.run(_check(rule, kit))


async def _check(rule: Rule[Any], kit: BrokerKit | StoreKit) -> None:
    try:
        async with asyncio.timeout(kit.rule_seconds) as limit:
            if isinstance(kit, BrokerKit):
                async with BrokerBench(kit) as broker_bench:
                    _applies(rule, kit, (await broker_bench.made()).capabilities)
                    await rule.check(broker_bench)
            else:
                async with StoreBench(kit) as store_bench:
                    if rule.unmade:
                        _applies(rule, kit, (await store_bench.made()).capabilities)
                    else:
                        await store_bench.open()
                        _applies(rule, kit, store_bench.a.capabilities)
                    await rule.check(store_bench)
    except TimeoutError as error:
        if not limit.expired():
            raise  # the adapter's own
        raise AssertionError(f"{rule}: it did not come to an end within {kit.rule_seconds:g} s") from error


def _applies(rule: Rule[Any], kit: BrokerKit | StoreKit, capabilities: Capabilities) -> None:
    """Skip what is not declared, and what the kit cannot do. Fail if the kit lacks what a declared capability needs."""
    base = BrokerKit if isinstance(kit, BrokerKit) else StoreKit
    for name in rule.declares:
        if not getattr(capabilities, name):
            pytest.skip(f"{name!r} is not declared")
    for name in rule.kit:
        if getattr(type(kit), name) is getattr(base, name):
            if name == "end" and capabilities.lineage:
                pytest.fail(f"'lineage' is declared, so {type(kit).__name__} needs a method 'end'", pytrace=False)
            pytest.skip(f"{type(kit).__name__} has no method {name!r}")
