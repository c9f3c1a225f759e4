"""Runs first.py on the memory broker. It lives inside the process, so the program that reads the orders writes them too."""

from first import handle

from streamkit import App, run
from streamkit.builtin.memory import MemoryLog

if __name__ == "__main__":
    log = MemoryLog.named()
    log.create("orders", partitions=1)
    for customer, order in ((b"ada", b"tea"), (b"bob", b"jam"), (b"ada", b"milk")):
        log.append("orders", order, key=customer)
    run(App(handle))
