"""What runs. Follow one record: reading -> delivery.worker -> delivery.call -> the user's code -> checkpoint.checkpointer.

Control travels the other way: supervisor -> ownership -> assignment -> worker. `runtime` carries all of it.
"""
