"""OAUTHBEARER tokens from a function of the user's, in the shape and at the time that librdkafka wants them.

librdkafka keeps quiet about a function that raises and waits for ten seconds. So the first token is asked for before a client
is made, and what is wrong with it is said then. Later ones librdkafka asks for itself, on a thread of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from streamkit.errors import AccessDeniedError
from streamkit_kafka.errors import BROKER

__all__ = ["TokenSource"]

CALLBACK = "STREAMKIT_KAFKA__OAUTH_CALLBACK"


class TokenSource:
    """An `oauth_cb` of one client. `path` names the function to people; nothing that it raises or returns is repeated to them."""

    def __init__(self, function: Callable[..., object], path: str, config: str) -> None:
        """`config` is the text of sasl.oauthbearer.config, empty if there is none."""
        self._function = function
        self._path = path
        self._config = config
        self._first: tuple[str, float] | None = None
        self.failure = ""
        """Why the last question had no answer; empty if it had. librdkafka does not pass that on. Written on its thread."""

    def fetch(self) -> None:
        """Ask for the first token. Raises AccessDeniedError."""
        self._first = self._ask()

    def __call__(self, config: str | None) -> tuple[str, float]:
        first, self._first = self._first, None
        try:
            token = first or self._ask()
        except AccessDeniedError as error:
            self.failure = str(error)
            raise
        self.failure = ""
        return token

    def _ask(self) -> tuple[str, float]:
        try:
            answer = self._function(self._config)
        except Exception as error:
            raise self._denied(f"raised {type(error).__name__}") from error
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise self._denied(f"returned {type(answer).__name__}, not a pair of a token and when it expires")
        token, expiry = answer
        if not isinstance(token, str) or not token or not isinstance(expiry, int | float):
            raise self._denied(f"returned a pair of {type(token).__name__} and {type(expiry).__name__}, not of a token and unix seconds")
        if expiry <= time.time():
            raise self._denied("returned a token that has expired; the second value is unix seconds")
        return token, float(expiry)

    def _denied(self, what: str) -> AccessDeniedError:
        fix = f"mend the function that {CALLBACK} names; --debug shows what it raised"
        return AccessDeniedError(f"no token for Kafka: {self._path} {what}", missing="a token", broker=BROKER, fix=fix)
