"""The options of the disk backend."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["LEAST_BYTES", "MAX_BYTES", "MOST_SECONDS", "TIMEOUT", "DiskOptions"]

MAX_BYTES = 1024 * 1024 * 1024
LEAST_BYTES = 1024 * 1024
TIMEOUT = 0.2
MOST_SECONDS = 60.0


class DiskOptions(BaseModel):
    """``orchestration.cache.options`` for ``backend: disk``."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    directory: str | None = Field(default=None, min_length=1)
    """Where the database is, for this cache alone; ``~`` stands for the home directory. By default ``mcp-orchestra``
    in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    max_bytes: int = Field(default=MAX_BYTES, ge=LEAST_BYTES)
    """Bytes that the cache may take up on disk, its log included; beyond, what was stored least recently goes first."""
    timeout: float = Field(default=TIMEOUT, gt=0, le=MOST_SECONDS)
    """Seconds to wait for a database that another process has locked."""

    @field_validator("directory")
    @classmethod
    def _is_a_path(cls, directory: str | None) -> str | None:
        if directory is not None and "\0" in directory:
            raise ValueError("a path cannot have a NUL character in it")
        return directory
