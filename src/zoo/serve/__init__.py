"""A server over zoo's models: an engine that batches, processes that hold models, a door of HTTP.

docs/serving.md says how to run it. Nothing here is imported by the rest of zoo; FastAPI, uvicorn
and prometheus-client are the extra `serve`.
"""
