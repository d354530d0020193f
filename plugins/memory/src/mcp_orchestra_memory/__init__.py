"""Keep cached resources in the memory of the process."""
