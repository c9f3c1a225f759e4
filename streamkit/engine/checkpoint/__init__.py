"""From done records to a position in a store: checkpointer, futures, store calls."""
