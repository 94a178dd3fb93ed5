"""From a pool of exposures to what must be processed together."""
