"""Tokens of the default chain: in bounded time, the last one as long as it is good, and what is said if there is none."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError
from streamkit_eventhubs.errors import NO_LOGIN, NO_LOGIN_NOW, UnclearDenialError, translation
from streamkit_eventhubs.login import Login

from streamkit.errors import AccessDeniedError

SCOPE = "https://eventhubs.azure.net//.default"
PAGE = """DefaultAzureCredential failed to retrieve a token from the included credentials.
Attempted credentials:
\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Environment variables are not fully configured.
Visit https://example.com/troubleshoot to troubleshoot this issue.
\tAzureCliCredential: Azure CLI not found on path
To mitigate this issue, please refer to the troubleshooting guidelines."""


class Chain(AsyncTokenCredential):
    """Gives what it was told to give, in turn; `None` is no answer."""

    def __init__(self, *answers: AccessToken | Exception | None) -> None:
        self.answers = list(answers)
        self.is_closed = False

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        answer = self.answers.pop(0)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    async def close(self) -> None:
        self.is_closed = True

    async def __aexit__(self, *reasons: Any) -> None:
        await self.close()


def token(text: str, seconds: float = 3600) -> AccessToken:
    return AccessToken(text, int(time.time() + seconds))


def asked(login: Login, times: int = 1) -> list[str]:
    async def body() -> list[str]:
        return [(await login.get_token(SCOPE)).token for _ in range(times)]

    return asyncio.run(body())


def denied(login: Login) -> AccessDeniedError:
    """As who reads is told."""
    with pytest.raises(ClientAuthenticationError) as caught:
        asked(login)
    known = translation(caught.value, "asking")
    assert isinstance(known, AccessDeniedError)
    assert "AZURE_CLIENT_ID" in known.fix
    assert "STREAMKIT_EVENTHUBS__CONNECTION_STRING" in known.fix
    return known


def test_no_identity_is_a_denial_that_lasts_and_says_of_each_way_one_sentence() -> None:
    known = denied(Login(Chain(ClientAuthenticationError(message=PAGE)), 5.0))
    assert type(known) is AccessDeniedError
    tried = "EnvironmentCredential: EnvironmentCredential authentication unavailable; AzureCliCredential: Azure CLI not found on path"
    assert str(known) == f"Event Hubs, asking: {NO_LOGIN}: {tried}"


def test_no_answer_is_no_answer_soon_and_may_come_later() -> None:
    known = denied(Login(Chain(None), 0.01))
    assert type(known) is UnclearDenialError
    assert str(known) == f"Event Hubs, asking: {NO_LOGIN_NOW}: no answer within 0.01 s, a fifth of STREAMKIT_EVENTHUBS__REQUEST_TIMEOUT"


@pytest.mark.parametrize("trouble", [ClientAuthenticationError(message="busy"), OSError("gone"), ValueError("no JSON"), None])
def test_a_token_that_is_still_good_is_given_again_where_there_is_no_new_one(trouble: Exception | None) -> None:
    assert asked(Login(Chain(token("a"), trouble, token("b")), 0.01), 3) == ["a", "a", "b"]


def test_a_token_that_ends_now_is_not_given_again_and_who_has_logged_in_may_do_so_later() -> None:
    login = Login(Chain(token("a", 5), ClientAuthenticationError(message="busy")), 5.0)
    assert asked(login) == ["a"]
    known = denied(login)
    assert (type(known), str(known)) == (UnclearDenialError, f"Event Hubs, asking: {NO_LOGIN_NOW}: busy")


def test_links_that_open_together_ask_one_after_the_other() -> None:
    class Slow(Chain):
        at_once = most = 0

        async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
            return token("a")

    async def body() -> None:
        chain = Slow()
        login = Login(chain, 5.0)
        await asyncio.gather(*(login.get_token(SCOPE) for _ in range(5)))
        assert chain.most == 1

    asyncio.run(body())


def test_what_it_asks_is_closed_with_it() -> None:
    chain = Chain()
    asyncio.run(Login(chain, 1.0).close())
    assert chain.is_closed
