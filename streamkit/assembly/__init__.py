"""Puts an app together: which plugins there are, and what they and the engine are told. Reads the outside; runs nothing."""

from streamkit.assembly.environment import process_environment
from streamkit.assembly.loader import ExplainedSetting, Loaded, load
from streamkit.assembly.registry import PluginDescription, Registry, Role, load_factory

__all__ = ["ExplainedSetting", "Loaded", "PluginDescription", "Registry", "Role", "load", "load_factory", "process_environment"]
