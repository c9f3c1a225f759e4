"""Names of the owners of leases."""

from __future__ import annotations

import pytest

from streamkit.engine.ownership.naming import is_another_program, owner_name, worker_name


def test_a_process_is_told_from_its_predecessor_and_people_see_one_name() -> None:
    names = {owner_name("w1", chance) for chance in (0.0, 0.25, 1 - 2**-53)}
    assert names == {"w1#00000000", "w1#40000000", "w1#ffffffff"}
    assert {worker_name(name) for name in names} == {"w1"}
    assert not any(is_another_program(name) for name in names)


@pytest.mark.parametrize(("owner", "is_other"), [("", False), ("ip-10-0-0-1:5f0c", True), ("w#1", True), ("a\nb#0123abcd", False)])
def test_another_program_is_known_by_its_name(owner: str, is_other: bool) -> None:
    assert is_another_program(owner) is is_other
