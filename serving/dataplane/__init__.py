"""The ASGI application that answers requests, and its `GET` pages."""
