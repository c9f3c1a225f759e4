"""Runs totals.py on the memory broker with four partitions, and prints the sums that are in the database afterwards."""

import sqlite3
from contextlib import closing

from totals import Totals

from streamkit import App, run
from streamkit.builtin.memory import MemoryLog

if __name__ == "__main__":
    log = MemoryLog.named()
    log.create("payments", partitions=4)
    for number in range(1000):
        log.append("payments", b"%d" % number, key=b"customer-%d" % (number % 3))
    run(App(Totals, broker="memory", stream="payments", group="totals", stop="at_end"))
    with closing(sqlite3.connect(Totals.path)) as database:
        for customer, cents in database.execute("SELECT * FROM totals ORDER BY customer"):
            print(customer, cents)
