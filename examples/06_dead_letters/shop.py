"""Sells what is in stock. An order that it cannot read or fill is put aside, and run again when that has been mended."""

import json
from pathlib import Path

from streamkit import Context, Record, record_processor


@record_processor
def sell(record: Record, context: Context) -> None:
    order = json.loads(record.value or b"")
    stock = Path("stock.txt").read_text().split()
    if order["item"] not in stock:
        raise LookupError(f"no {order['item']} in stock")
    print(f"order {order['id']}: {order['item']}")
