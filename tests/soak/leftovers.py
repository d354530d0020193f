"""What a test may leave behind."""

import asyncio
import gc
from pathlib import Path

import psutil

__all__ = ["left"]


def left() -> tuple[set[str], int, int]:
    """Return the tasks, how many descriptors, and how many children there are."""
    gc.collect()
    tasks = {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    return tasks, len(list(Path("/proc/self/fd").iterdir())), len(psutil.Process().children(recursive=True))
