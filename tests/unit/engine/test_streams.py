"""Which streams a setting names."""

from __future__ import annotations

import pytest

from streamkit.engine.streams import names_stream


@pytest.mark.parametrize(
    ("asked", "stream", "is_named"),
    [
        (("orders",), "orders", True),
        (("orders",), "orders-2", False),
        (("orders", "payments"), "payments", True),
        (("^ord",), "orders", True),
        (("^ord$",), "orders", False),
        (("^ers",), "orders", False),
        (("o.*",), "orders", False),
        ((), "orders", False),
    ],
)
def test_by_name_or_by_a_regular_expression_from_the_beginning(asked: tuple[str, ...], stream: str, is_named: bool) -> None:
    assert names_stream(asked, stream) is is_named
