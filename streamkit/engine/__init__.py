"""What runs. Follow one record: reading -> delivery.intake -> delivery.in_order (or keyed) -> delivery.call -> the user's code
-> checkpoint.checkpointer. What fails goes through delivery.failures.

Control travels the other way: supervisor -> ownership -> assignment -> worker. `runtime` carries all of it.
"""
