"""Who we are, where no connection string says it: azure-identity's default chain, with words that can be acted upon.

Called by the SDK before a request that needs a token. Somebody who could log in once and cannot now is a store that is not to be had for
a while, and no wrong setting: what a worker holds is kept until it is clear. `client.py` makes it, `errors.py` knows what it raises.
"""

from __future__ import annotations

import time
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError

__all__ = ["Login", "NoLoginError", "NotNowError"]


MARGIN_SECONDS = 1.0
"""What a request may take to get there: a token that ends on the way is refused like a wrong one."""


class NoLoginError(ClientAuthenticationError):
    """Nobody was found to be. Its text is ours, and quotes no answer."""


class NotNowError(AzureError):
    """No token just now, and the last one has ended."""


class Login(AsyncTokenCredential):
    """What it asks is closed with it."""

    def __init__(self, chain: AsyncTokenCredential) -> None:
        self._chain = chain
        self._last: dict[tuple[str, ...], AccessToken] = {}

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A new one, or the last one as long as it is good. Raises NoLoginError, NotNowError. The caller bounds the time."""
        try:
            token = await self._chain.get_token(*scopes, **options)
        except (AzureError, OSError, ValueError) as error:  # the last: an answer that makes no sense
            last = self._last.get(scopes)
            if last is None:
                raise NoLoginError(f"no identity was found that can log in: {_in_short(error)}") from error
            if last.expires_on <= time.time() + MARGIN_SECONDS:
                raise NotNowError(f"the identity could not log in just now: {_in_short(error)}") from error
            return last
        self._last[scopes] = token
        return token

    async def close(self) -> None:
        await self._chain.close()

    async def __aexit__(self, *reasons: Any) -> None:
        await self.close()


def _in_short(error: Exception) -> str:
    """Of each way to log in that was tried the first sentence, on one line: the whole text is a page of advice."""
    lines = str(error).splitlines()
    tried = [line.strip() for line in lines if line.startswith("\t")] or lines[:1] or [type(error).__name__]
    return "; ".join(line.partition(". ")[0].rstrip(".") for line in tried)
