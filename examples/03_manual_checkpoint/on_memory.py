"""Runs letters.py on the memory broker. Of three letters the last is cut short, so the checkpoint stands before it."""

from letters import Letters

from streamkit import App, run
from streamkit.builtin.memory import MemoryLog

LINES = ("Dear Ada", "thank you", "Yours", "Dear Bob", "no", "Yours", "Dear Cy", "I was just about to")

if __name__ == "__main__":
    log = MemoryLog.named()
    log.create("lines", partitions=1)
    for line in LINES:
        log.append("lines", line.encode())
    app = App(Letters, broker="memory", stream="lines", group="letters", stop="at_end")
    run(app)
    for file in sorted(Letters.folder.iterdir()):
        print(file.name, file.read_text().splitlines())
