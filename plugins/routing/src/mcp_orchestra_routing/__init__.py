"""Decide which server is asked first."""
