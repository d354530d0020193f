"""Lets ``python -m mcp_orchestra_cli`` stand for the command ``mcp-orchestra``."""

from mcp_orchestra_cli.main import run

run()
