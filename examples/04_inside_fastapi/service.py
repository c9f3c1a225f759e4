"""A web service that also consumes: `App.serve` runs in FastAPI's own loop, from its start to its end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response

from streamkit import App, Context, Record, record_processor

orders: Counter[str] = Counter()


@record_processor
async def count(record: Record, context: Context) -> None:
    orders[(record.key or b"nobody").decode()] += 1


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    api.state.consumer = App(count)
    api.state.serving = asyncio.create_task(api.state.consumer.serve())
    yield
    api.state.consumer.stop("the service ends")
    await api.state.serving  # drains; raises here if the consumer could not run


api = FastAPI(lifespan=lifespan)


@api.get("/orders")
def totals() -> dict[str, int]:
    return dict(orders)


@api.get("/healthz")
def health(response: Response) -> dict[str, str]:
    """Red when the consumer has ended by itself, or a partition does not move; each with its reason."""
    problems = {str(status.partition): status.problem for status in api.state.consumer.snapshot() if status.problem}
    if api.state.serving.done():
        problems["consumer"] = "has ended"
    response.status_code = 503 if problems else 200
    return problems
