"""The command ``mcp-orchestra``: everything the library does, from a terminal or a script.

Nothing is imported before it is needed: ``mcp-orchestra --help`` answers without the SDK, pydantic or rich.
"""
