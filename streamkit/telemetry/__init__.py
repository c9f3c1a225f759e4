"""What can be seen from outside: logs today. Tracing and metrics are not built yet."""
