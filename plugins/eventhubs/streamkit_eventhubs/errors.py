"""Turns what the SDK raises into errors of streamkit; the only place that knows the service's conditions.

Conditions: https://learn.microsoft.com/azure/event-hubs/event-hubs-amqp-troubleshoot and
https://learn.microsoft.com/azure/event-hubs/exceptions-dotnet. One that is not known means «not now».
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import ClientAuthenticationError
from azure.eventhub.exceptions import AuthenticationError

from streamkit.errors import (
    AccessDeniedError,
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    PositionInvalidError,
    StreamGoneError,
    StreamkitError,
    ThrottledError,
)

__all__ = ["BROKER", "NO_LOGIN", "NO_LOGIN_NOW", "StolenError", "UnclearDenialError", "condition_of", "translated", "translation"]

BROKER = "eventhubs"
NO_LOGIN = "no identity was found that can log in"
NO_LOGIN_NOW = "the identity could not log in just now"

_STATUS = re.compile(r"Status code: (\d{3})")
_WAIT = re.compile(r"wait (\d+) seconds?")
_POSITION = re.compile(r"(offset|sequence number) '?[^']*'? is (invalid|out of range)", re.IGNORECASE)
_SECRET = re.compile(r"(SharedAccessKey=|SharedAccessSignature[= ]|sig=)[^;&\s]+", re.IGNORECASE)
_LABEL = re.compile(r"^Error Description: ")
_CONDITION = re.compile(r"Error( condition)?: \S+$")
_NO_WAY_THERE = "Failed to authenticate the connection due to exception"
"""What the SDK says over web sockets to another endpoint if nobody answers there, or with a bad certificate. Nobody has logged in yet."""
_REFUSED = "CBS Token authentication failed"
_EXPIRED = ("ExpiredToken", "CBS Authentication Expired")
"""As the service says it, and the SDK, which has noticed by itself."""
_TLS_OBJECT = re.compile(r" ssl:(<[^>]*>|\w+)")
"""How aiohttp shows what it was to trust: an address in memory."""
_NOTHING_SAID = re.compile(r",? ?(Description|Status code): None")
_KEYS_FIX = "see that STREAMKIT_EVENTHUBS__CONNECTION_STRING, or the identity of this machine, is right and has the right to"
_LOGIN_FIX = (
    "give this machine an identity (managed, workload, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; AZURE_CLIENT_ID also "
    "chooses among several), log in with `az login`, or set STREAMKIT_EVENTHUBS__CONNECTION_STRING in place of "
    "STREAMKIT_EVENTHUBS__NAMESPACE"
)
_GROUP_FIX = (
    "make the event hub, or its consumer group, or correct STREAMKIT_STREAM and STREAMKIT_EVENTHUBS__CONSUMER_GROUP "
    "(unset, it is STREAMKIT_GROUP; every hub has $Default)"
)
_ADDRESS_FIX = (
    "see that the namespace, or STREAMKIT_EVENTHUBS__CUSTOM_ENDPOINT, is right and can be reached from here on port 5671; "
    "STREAMKIT_EVENTHUBS__TRANSPORT=websocket uses port 443"
)
_TRUST_FIX = (
    "STREAMKIT_EVENTHUBS__CA_FILE names the authorities that are trusted; the certificate must be for the host that is connected to"
)
_PACKAGE_FIX = "pip install aiohttp, which web sockets need; 'streamkit-eventhubs[websocket]' brings it along"
_QUOTA_FIX = "five readers without owner level share a partition and group at most: stop one, or use another consumer group"
_REASONS_TO_DENY = {"unauthorized-access", "auth-failed", "unauthorized-access-exception", "client-error-unauthorized"}
_BUSY = {"server-busy", "quota-exceeded", "operation-cancelled-throttled"}
_HUNG_UP = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""Says nothing of certificates: the other side went away in between."""
_GONE = {"not-found", "entity-not-found", "entity-disabled", "resource-deleted"}
_WRONG = {"argument-error", "argument-out-of-range", "invalid-field", "not-allowed", "not-implemented", "message-size-exceeded"}


class StolenError(BrokerError):
    """The service has let in another reader of this partition, with an owner level at least as high as ours. Not retryable, and no failure:
    the reader turns it into `Lost`. `str()` is what the service said of the other one."""


class UnclearDenialError(AccessDeniedError):
    """A denial that may be none with the next token. Retryable, for a short while.

    A token was not taken, and nobody says why: of a refusal with a reason the SDK keeps neither that nor the status, so that a busy
    service, a link that was cut and a wrong key look the same. Or it has expired: that of a link which was not read for long is not
    renewed. Or who gives out tokens could not do so just now.
    """

    retryable = True


def condition_of(error: BaseException) -> str:
    """The AMQP condition without its name space (`link:stolen`, `server-busy`); empty if there is none."""
    condition: object = getattr(error, "condition", None)  # the SDK's AMQP layer
    if condition is None:
        return str(getattr(error, "error", None) or "")  # its public errors have cut the name space off
    text = getattr(condition, "value", condition)
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return text.partition(":")[2]


def translation(error: BaseException, doing: str, partition: str = "") -> StreamkitError:
    """streamkit's error for whatever the SDK has raised."""
    if isinstance(error, StreamkitError):
        return error
    right = "Send" if doing.startswith(("send", "writ", "looking")) else "Listen"
    known = _known(error, f"Event Hubs, {doing}: {said_by(error)}", partition, right)
    known.__cause__ = error
    return known


def said_by(error: BaseException) -> str:
    """Its text on one line: what the service or the SDK said, once, with the condition; without keys."""
    lines: dict[str, None] = {}
    for line in str(error).splitlines():
        said = _NOTHING_SAID.sub("", _LABEL.sub("", line.strip())).strip(" ,.")
        if said and not _CONDITION.match(said):
            lines[said] = None
    text = _SECRET.sub(r"\1**********", _TLS_OBJECT.sub("", "; ".join(lines))) or type(error).__name__
    condition = condition_of(error)
    return f"{text} ({condition})" if condition and condition not in text else text


def _known(error: BaseException, text: str, partition: str, right: str) -> StreamkitError:
    condition = condition_of(error)
    status = found[1] if (found := _STATUS.search(text)) else ""
    where = {"broker": BROKER, "partition": partition}
    if isinstance(error, ImportError):
        return ConfigurationError(text, setting="STREAMKIT_EVENTHUBS__TRANSPORT", fix=_PACKAGE_FIX)
    if condition == "link:stolen":
        return StolenError(said_by(error), **where)
    if NO_LOGIN in text or NO_LOGIN_NOW in text:
        kind = AccessDeniedError if NO_LOGIN in text else UnclearDenialError
        return kind(text, missing="a login", fix=_LOGIN_FIX, **where)
    if any(said in text for said in _EXPIRED):
        return UnclearDenialError(text, missing=right, fix="see that the clock of this machine is right", **where)
    if condition in _REASONS_TO_DENY or status in ("401", "403") or isinstance(error, ClientAuthenticationError):
        return AccessDeniedError(text, missing=right, fix=f"{_KEYS_FIX} {right}", **where)
    if condition in _GONE or status in ("404", "410"):
        return StreamGoneError(text, fix=_GROUP_FIX, **where)
    if condition in _BUSY or status == "503":
        waits = float(found[1]) if (found := _WAIT.search(text)) else None
        return ThrottledError(text, retry_after=waits, **where)
    if _REFUSED in text or (isinstance(error, AuthenticationError) and _NO_WAY_THERE not in text):
        return UnclearDenialError(text, missing=right, fix=f"{_KEYS_FIX} {right}", **where)
    if condition == "resource-limit-exceeded":
        return BrokerUnavailableError(text, fix=_QUOTA_FIX, **where)
    if _POSITION.search(text):
        return PositionInvalidError(text, fix="set a checkpoint (streamkit checkpoints set)", **where)
    if condition in _WRONG or condition == "link:message-size-exceeded" or status == "400":
        return BrokerError(text, **where)
    return _of_connection(error, condition, text, partition)


def _of_connection(error: BaseException, condition: str, text: str, partition: str) -> StreamkitError:
    """There was no answer, or none that could be trusted."""
    causes = list(_causes(error))
    is_refused = any(isinstance(cause, ssl.SSLError) and not isinstance(cause, _HUNG_UP) for cause in causes)
    if is_refused or "CERTIFICATE_VERIFY_FAILED" in text:  # a cause may be lost on its way
        missing = "a TLS connection that both sides accept"
        return AccessDeniedError(text, missing=missing, broker=BROKER, partition=partition, fix=_TRUST_FIX)
    if any(isinstance(cause, FileNotFoundError) for cause in causes):
        return ConfigurationError(text, setting="STREAMKIT_EVENTHUBS__CA_FILE", fix="it must be a PEM file that can be read")
    is_known = condition == "socket-error" or _NO_WAY_THERE in text
    fix = _ADDRESS_FIX if is_known or any(isinstance(cause, OSError) or _is_of_web(cause) for cause in causes) else ""
    return BrokerUnavailableError(text, broker=BROKER, partition=partition, fix=fix)


def _is_of_web(error: BaseException) -> bool:
    """Whether it is an error of aiohttp, which only web sockets need: a gateway that has answered with something else, or hung up."""
    return type(error).__module__.partition(".")[0] == "aiohttp"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it; the SDK keeps some causes in an attribute only."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "inner_error", None)]


@contextmanager
def translated(doing: str, partition: str = "") -> Iterator[None]:
    """Raises `translation` of what the calls in it raise; `doing` tells people what was tried. Cancellation passes."""
    try:
        yield
    except StreamkitError:
        raise
    except Exception as error:  # the SDK's AMQP layer meets what it does not expect with AttributeError, KeyError and others
        raise translation(error, doing, partition) from error
