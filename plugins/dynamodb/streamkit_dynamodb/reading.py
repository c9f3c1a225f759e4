"""Reads rows, consistently, and believes that one is absent only if the answer is whole."""

from __future__ import annotations

from collections.abc import Callable

from streamkit.errors import StoreThrottledError, StoreUnavailableError
from streamkit_dynamodb.answers import Answer, Item, whole
from streamkit_dynamodb.client import DynamoDBClient
from streamkit_dynamodb.errors import translated
from streamkit_dynamodb.rows import KEY
from streamkit_dynamodb.statements import Retries

__all__ = ["Reading"]

MAX_LISTING_SECONDS = 2.0
"""Less than it takes a child to begin, and all that its parents' rows are kept for to be done: a checkpoint interval, and a look."""


class Reading:
    """May be used by several threads. Raises StoreUnavailableError, StoreThrottledError, AccessDeniedError, and ConfigurationError if the
    table is gone."""

    def __init__(self, client: DynamoDBClient, table: str, retries: Retries, longest_listing_seconds: float = MAX_LISTING_SECONDS) -> None:
        self._longest_listing_seconds = longest_listing_seconds
        self._client = client
        self._table = table
        self._retries = retries

    def find(self, key: str) -> Item | None:
        """One item; None: there is none."""

        def ask() -> Answer:
            return self._client.get_item(TableName=self._table, Key={KEY: {"S": key}}, ConsistentRead=True, ReturnConsumedCapacity="TOTAL")

        # Without an item there is nothing else in the answer that could be missed.
        item: Item | None = self._ask("GetItem", ask, ["ConsumedCapacity"]).get("Item")
        return item

    def all(self) -> list[Item]:
        """Every item of the table. Each as it was at one moment; those of different pages at different ones, which must not lie far
        apart: the row of a parent may be removed after the place where its child's is now has been passed."""
        items: list[Item] = []
        began = self._retries.monotonic()
        at: dict[str, object] = {}
        while True:
            page = self._page(at)
            items += page["Items"]
            seconds = self._retries.monotonic() - began
            if at and seconds > self._longest_listing_seconds:  # of the last one too: it may have been tried again for long
                raise StoreThrottledError(
                    f"DynamoDB, Scan {self._table!r}: {len(items)} rows on several pages took {seconds:.1f}s",
                    fix="give the table more read capacity, or bill it on demand",
                )
            last = page.get("LastEvaluatedKey")
            if not last:
                return items
            at = {"ExclusiveStartKey": last}

    def _page(self, at: dict[str, object]) -> Answer:
        def ask() -> Answer:
            return self._client.scan(TableName=self._table, ConsistentRead=True, ReturnConsumedCapacity="TOTAL", **at)

        page = self._ask("Scan", ask, ["Items", "Count", "ScannedCount", "ConsumedCapacity"])
        if len(page["Items"]) != page["Count"]:
            raise StoreUnavailableError(f"DynamoDB, Scan {self._table!r}: {len(page['Items'])} of {page['Count']} items came")
        return page

    def _ask(self, doing: str, ask: Callable[[], Answer], names: list[str]) -> Answer:
        again = self._retries.begin()
        while True:
            try:
                with translated(doing, self._table):
                    return whole(ask(), names, doing)
            except (StoreThrottledError, StoreUnavailableError):
                if not again():
                    raise
