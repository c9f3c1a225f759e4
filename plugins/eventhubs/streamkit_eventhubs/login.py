"""Who we are, where no connection string says it: azure-identity's default chain, in bounded time, and with words that can be acted upon.

The SDK asks here for a token when it connects, and again before that one ends. What goes wrong loses its type on the way back, and keeps
its text: `errors.py` knows the two beginnings that stand here. Called by `client.py`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError

from streamkit_eventhubs.errors import NO_LOGIN, NO_LOGIN_NOW

__all__ = ["Login"]

_SETTING = "STREAMKIT_EVENTHUBS__REQUEST_TIMEOUT"
MARGIN_SECONDS = 10.0
"""A token that ends so soon is none for a new link."""


class Login(AsyncTokenCredential):
    """What it asks is closed with it."""

    def __init__(self, chain: AsyncTokenCredential, seconds: float) -> None:
        """`seconds`: for one token. Of some ways to log in azure-identity waits for more than a minute."""
        self._chain = chain
        self._seconds = seconds
        self._one_at_a_time = asyncio.Lock()
        """Of a hundred links that open together the first asks, and azure-identity keeps what the others need."""
        self._last: dict[tuple[str, ...], AccessToken] = {}

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A new one, or the last one once more if there is no new one and it is still good: it is asked for long before that ends.

        Raises ClientAuthenticationError. An identity that has logged in before, or does not answer, may do so later.
        """
        try:
            async with asyncio.timeout(self._seconds), self._one_at_a_time:
                token = await self._chain.get_token(*scopes, **options)
        except TimeoutError as error:
            return self._still_good(scopes, f"{NO_LOGIN_NOW}: no answer within {self._seconds:g} s, a fifth of {_SETTING}", error)
        except (AzureError, OSError, ValueError) as error:  # the last: an answer that makes no sense
            beginning = NO_LOGIN_NOW if self._last else NO_LOGIN
            return self._still_good(scopes, f"{beginning}: {_in_short(error)}", error)
        self._last[scopes] = token
        return token

    def _still_good(self, scopes: tuple[str, ...], text: str, error: Exception) -> AccessToken:
        last = self._last.get(scopes)
        if last is None or last.expires_on - time.time() < MARGIN_SECONDS:
            raise ClientAuthenticationError(text) from error
        return last

    async def close(self) -> None:
        await self._chain.close()

    async def __aexit__(self, *reasons: Any) -> None:
        await self.close()


def _in_short(error: Exception) -> str:
    """Of each way to log in that was tried the first sentence, on one line: the whole text is a page of advice."""
    lines = str(error).splitlines()
    tried = [line.strip() for line in lines if line.startswith("\t")] or lines[:1] or [type(error).__name__]
    return "; ".join(line.partition(". ")[0].rstrip(".") for line in tried)
