"""Configuration: typed models, and the loader that turns a file into them or into one clear error."""
