"""Keep cached resources on disk."""
