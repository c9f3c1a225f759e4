"""The plugins that come with streamkit: memory, file and sqlite. Shaped like outside ones, and without privilege."""
