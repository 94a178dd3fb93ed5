"""From a pool of exposures to what must be processed together."""

from lightmill.association.pool import IN_MEMORY, Pool, concat, read_pool, write_pool

__all__ = ["IN_MEMORY", "Pool", "concat", "read_pool", "write_pool"]
