"""Applies ``enable_logging`` and ``log_level`` to the library's own logger; the root logger is the application's."""

import logging

from mcp_orchestra.config.models import OrchestrationConfig

__all__ = ["configure_logging"]

_SILENT = logging.CRITICAL + 1


def configure_logging(orchestration: OrchestrationConfig) -> None:
    """Set the level of the logger ``mcp_orchestra``; handlers are left to the application."""
    level = logging.getLevelNamesMapping()[orchestration.log_level] if orchestration.enable_logging else _SILENT
    logging.getLogger("mcp_orchestra").setLevel(level)
