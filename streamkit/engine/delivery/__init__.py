"""From a batch to the user's code and back: workers, calls, retries, pressure."""
