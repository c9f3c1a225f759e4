"""Prints every order. The environment says from which broker, which stream, and for which group."""

from streamkit import Context, Record, record_processor


@record_processor
def handle(record: Record, context: Context) -> None:
    customer = (record.key or b"nobody").decode()
    print(f"{customer} ordered {record.value!r}", flush=True)
