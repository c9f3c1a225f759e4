"""Prints each line with the name of its file."""

from streamkit import Context, Record, record_processor


@record_processor
def show(record: Record, context: Context) -> None:
    print(record.partition, (record.value or b"").decode())
