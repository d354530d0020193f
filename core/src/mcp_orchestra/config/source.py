"""Where a configuration comes from, so that it can be loaded again."""

import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from mcp_orchestra.config.finding import find_config
from mcp_orchestra.config.loaded import LoadedConfig
from mcp_orchestra.config.loader import bind_config, load_config
from mcp_orchestra.config.models import MCPConfig

if TYPE_CHECKING:
    from mcp_orchestra.plugins import PluginManager

__all__ = ["Source"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file, or a configuration made in Python, or with neither the file that is found."""

    path: pathlib.Path | None = None
    config: MCPConfig | None = None
    tool_pins: bool = True
    """Whether the pin file that it names is read and gone by."""

    @classmethod
    def of(cls, given: "MCPConfig | pathlib.Path | str | None", *, tool_pins: bool = True) -> Self:
        """Return the source that somebody names.

        Args:
            given: The source; None is the file that is found.
            tool_pins: As for the class.

        Raises:
            TypeError: It is none.
        """
        if given is None:
            return cls(tool_pins=tool_pins)
        if isinstance(given, MCPConfig):
            return cls(config=given, tool_pins=tool_pins)
        return cls(path=pathlib.Path(given), tool_pins=tool_pins)

    def load(self, plugins: "PluginManager | None") -> LoadedConfig:
        """Load and check the configuration.

        Args:
            plugins: The plug-ins to check against; those installed by default.

        Raises:
            ConfigurationError: It is missing or invalid.
        """
        if self.config is not None:
            # A copy, so that what is in force can be compared with what its owner has made of it since.
            return bind_config(self.config.model_copy(deep=True), plugins=plugins, tool_pins=self.tool_pins)
        return load_config(self.path, plugins=plugins, tool_pins=self.tool_pins)

    def file(self) -> pathlib.Path | None:
        """Return the file, or None for a configuration made in Python.

        Raises:
            ConfigurationError: There is none where one is looked for.
        """
        if self.config is not None:
            return None
        return self.path if self.path is not None else find_config()
