"""Credentials that were handed out and still live: `pullpass.cache.disk`."""
