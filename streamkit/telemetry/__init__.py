"""What can be seen from outside: logs, metrics and traces. All names are in `names.py`.

Only `tracing`, `durations`, `instruments`, `propagation`, `unsaved`, `instrumentation` and `export` know OpenTelemetry. They are imported
when somebody else has imported it, or the environment asks for it.
"""
