"""Writes configuration files: a commented one to start from, or another client's servers in our shape."""
