"""FastAPI router and lifespan, and the package fastapi_server."""
