"""The conformance kit: every rule that a broker or a store must keep, as a test. Needs pytest (`streamkit[testing]`).

    class MyKit(BrokerKit): ...                      # how to make the adapter, a fresh stream, records in it

    @pytest.fixture
    def my_kit(tmp_path): return MyKit(tmp_path)

    test_rules = broker_rules("my_kit")              # or store_rules

What each rule means is in its docstring, and on the page docs/reference/conformance.md, which is made of them.
"""

from pkgutil import iter_modules

import pytest

# So that a failing rule shows what it compared. Before the first of them is imported.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from streamkit.testing.conformance.context import KitContext  # noqa: E402
from streamkit.testing.conformance.kit import BrokerKit, StoreKit  # noqa: E402
from streamkit.testing.conformance.rule import Rule  # noqa: E402
from streamkit.testing.conformance.rules import BROKER_RULES, STORE_RULES, broker_rules, check, store_rules  # noqa: E402

__all__ = ["BROKER_RULES", "STORE_RULES", "BrokerKit", "KitContext", "Rule", "StoreKit", "broker_rules", "check", "store_rules"]
