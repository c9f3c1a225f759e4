"""Plain files on this host: streams and dead letters as JSON lines, checkpoints as small JSON files.

settings.py  what can be set            store.py     checkpoints
lines.py     one record as one line     disk.py      locks, and what survives a power cut
log.py       reading a file of lines    broker.py    files as streams of one partition
producer.py  appending to one           reader.py    follows them
go_checkpoints.py  another program's files, to and from
"""

from streamkit.builtin.file.settings import FileSettings
from streamkit.builtin.file.store import FileStore
from streamkit.plugin import Plugin, hookimpl

__all__ = ["FileSettings", "FileStore", "streamkit_plugin"]


@hookimpl
def streamkit_plugin() -> Plugin:
    return Plugin(
        name="file",
        settings=FileSettings,
        broker="streamkit.builtin.file.broker:FileBroker",
        store="streamkit.builtin.file.store:FileStore",
        producer="streamkit.builtin.file.producer:FileProducer",
        exchanges={"go-files": "streamkit.builtin.file.go_checkpoints:GoFilesExchange"},
    )
