"""The options of the disk backend."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["DiskOptions"]


class DiskOptions(BaseModel):
    """``orchestration.cache.options`` for ``backend: disk``."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    directory: str | None = Field(default=None, min_length=1)
    """Where the database is, for this cache alone; ``~`` stands for the home directory. By default ``mcp-orchestra``
    in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    max_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024 * 1024)
    """Bytes that the entries may take up on disk; beyond, those stored least recently go first."""
    timeout: float = Field(default=0.2, gt=0, le=60)
    """Seconds to wait for a database that another process has locked."""

    @field_validator("directory")
    @classmethod
    def _is_a_path(cls, directory: str | None) -> str | None:
        if directory is not None and "\0" in directory:
            raise ValueError("a path cannot have a NUL character in it")
        return directory
