"""The commands, each in a module that imports the library only when it runs."""
