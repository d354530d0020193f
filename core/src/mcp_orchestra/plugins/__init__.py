"""Finds plug-ins, keeps a broken one from harming the others, and hands out what they offer.

``finding`` knows how Python installs them, ``asking`` knows pluggy, ``explaining`` turns whatever goes wrong into plain
words, and ``manager`` puts the three together.
"""

from mcp_orchestra.plugins.info import PluginInfo
from mcp_orchestra.plugins.manager import PluginManager

__all__ = ["PluginInfo", "PluginManager"]
