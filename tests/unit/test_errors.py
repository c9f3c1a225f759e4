"""The tree that is drawn is the tree that is there."""

from __future__ import annotations

import inspect

from streamkit import errors


def drawn() -> dict[str, str]:
    """Each class in the drawing and what it hangs from."""
    parents: dict[str, str] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip("│├└─ ").partition(" ")[0].partition("(")[0]
        if not name.endswith("Error"):
            continue
        depth = (len(line) - len(line.lstrip("│├└─ "))) // 3
        del branch[depth:]
        parents[name] = branch[-1] if branch else "Exception"
        branch.append(name)
    return parents


def defined() -> dict[str, str]:
    classes = [value for value in vars(errors).values() if inspect.isclass(value) and value.__module__ == errors.__name__]
    return {one.__name__: one.__bases__[0].__name__ for one in classes}


def test_the_drawing_is_the_classes() -> None:
    assert drawn() == defined()
    assert sorted(errors.__all__) == errors.__all__ == sorted(defined())


def test_second_parents_are_said_in_the_drawing() -> None:
    text = errors.__doc__ or ""
    assert errors.ConfigurationError.__mro__[2] is ValueError
    assert "ConfigurationError(ValueError)" in text
    assert issubclass(errors.FencedError, errors.OwnershipError)
    assert "FencedError (also OwnershipError)" in text


def test_every_error_can_be_made_with_a_message_and_a_fix() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        more = {"position": 1, "low": 2, "high": 3} if name == "CheckpointPositionError" else {}
        error = kind("what happened", fix="what to do", **more)
        assert str(error) == "what happened"
        assert error.fix == "what to do"


def test_a_configuration_error_names_the_setting_and_where_it_came_from() -> None:
    error = errors.ConfigurationError("is empty", setting="STREAMKIT_STREAM", origin="environment")
    assert str(error) == "STREAMKIT_STREAM (from environment): is empty"
    assert str(errors.ConfigurationError("is empty", setting="STREAMKIT_STREAM")) == "STREAMKIT_STREAM: is empty"


def test_only_what_may_heal_by_itself_is_retryable() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    retryable = {kind.__name__ for kind in kinds if issubclass(kind, errors.BrokerError) and kind.retryable}
    assert retryable == {"BrokerUnavailableError", "ThrottledError"}
