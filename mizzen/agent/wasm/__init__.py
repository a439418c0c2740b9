"""Wasm modules for proxies that only read them from files: fetched by HTTP or as OCI images, kept, named in their resources.

    ECDS response → convert.py → cache.py → http_source.py, image_source.py

Imported when the first such resource comes; until then an agent does not pay for it.
"""
