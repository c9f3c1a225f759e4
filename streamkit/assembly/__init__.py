"""Puts an app together: which plugins there are, and what they and the engine are told. Reads the outside; runs nothing."""
