"""An app whose partitions share one database. Runs on the memory broker."""

# --8<-- [start:lifespan]
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from threading import Lock

from streamkit import App, Batch, Context, processor


class Archive:
    """Partitions call from threads of their own, so whatever they share must be thread-safe."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.lock = Lock()

    def add(self, rows: Iterable[tuple[str, bytes | None]]) -> None:
        with self.lock, self.connection:
            self.connection.executemany("INSERT OR IGNORE INTO orders VALUES (?, ?)", rows)


@contextmanager
def archive() -> Iterator[Archive]:
    with closing(sqlite3.connect("orders.db", check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, value BLOB)")
        yield Archive(connection)


@processor
def store(batch: Batch, context: Context) -> None:
    context.state.add((record.id, record.value) for record in batch)  # the id is the same at every delivery


app = App(store, lifespan=archive, stream="orders", group="archive")
# --8<-- [end:lifespan]

if __name__ == "__main__":
    from streamkit import run
    from streamkit.builtin.memory import MemoryLog

    log = MemoryLog.named()
    log.create("orders", partitions=2)
    for number in range(5):
        log.append("orders", b"%d" % number)
    run(app)
    with closing(sqlite3.connect("orders.db")) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (5,)
