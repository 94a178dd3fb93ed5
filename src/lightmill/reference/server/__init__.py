"""A server of reference files: contexts, best references and files, from a cache.

It answers what the official client asks, so that either client can use it, and people with pages.
Nothing here is imported before a server is wanted: it needs the extra ``lightmill[server]``.
"""

from lightmill.reference.server.holdings import Holdings
from lightmill.reference.server.questions import Questions

__all__ = ["Holdings", "Questions"]
