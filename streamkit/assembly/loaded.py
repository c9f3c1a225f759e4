"""What the loader hands to the app: checked settings, and where each came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from streamkit.assembly.masking import MASK, text_of
from streamkit.settings import Settings, variable_of

__all__ = ["ExplainedSetting", "Loaded"]


@dataclass(frozen=True, slots=True)
class ExplainedSetting:
    """One line of `streamkit explain`."""

    name: str
    """The variable's full name."""
    value_text_masked: str
    """The value as one would write it, secrets masked; empty means unset."""
    origin: str
    """`App`, `--config`, `environment`, a file's path, or `default`; `unused` is in the description."""
    description: str
    default: str
    """The default as one would write it; empty means unset, `required` that there is none."""


@dataclass(frozen=True, slots=True, repr=False)
class Loaded:
    """Settings that are fit for use. Not shown by `repr`, because plugins' settings may hold secrets."""

    settings: Settings
    sections: Mapping[str, BaseModel]
    """The settings of the selected plugins, by the plugin's name."""
    origins: Mapping[str, str]
    """Where each value came from, by the variable's full name; unused ones too."""
    unused: tuple[str, ...]
    """Plugins that are installed and have settings, and that nothing selected."""
    warnings: tuple[str, ...]
    unused_variables: tuple[str, ...] = ()

    def explain(self) -> Sequence[ExplainedSetting]:
        """Every setting, in the order of the models: streamkit's own, those of each plugin, and unused ones."""
        rows = self._rows(self.settings, "")
        for plugin, section in self.sections.items():
            rows += self._rows(section, plugin)
        rows += [
            ExplainedSetting(name, MASK, self.origins[name], "Unused: its plugin is not selected.", "") for name in self.unused_variables
        ]
        return tuple(rows)

    def _rows(self, model: BaseModel, plugin: str) -> list[ExplainedSetting]:
        # JSON mode gives texts that can be written back; pydantic masks SecretStr in it. Warnings are about unchecked defaults.
        values = model.model_dump(mode="json", warnings=False)
        defaults = type(model).model_construct().model_dump(mode="json", warnings=False)
        rows = []
        for name, field in type(model).model_fields.items():
            variable = variable_of(name, plugin)
            default = "required" if field.is_required() else text_of(defaults.get(name))
            rows.append(ExplainedSetting(variable, text_of(values.get(name)), self.origins[variable], field.description or "", default))
        return rows
