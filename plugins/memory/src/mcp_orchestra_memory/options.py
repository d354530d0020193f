"""The options of the memory backend."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MemoryOptions"]


class MemoryOptions(BaseModel):
    """``orchestration.cache.options`` for ``backend: memory``."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    max_entries: int = Field(default=10_000, ge=1)
    """Entries to keep; beyond, those used least recently go first."""
    max_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    """Bytes to keep, keys and values together; beyond, those used least recently go first."""
