"""Keep cached resources in Redis or Valkey."""
