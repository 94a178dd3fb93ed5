"""The observatories: one folder each, found by `lightmill.app.discover`."""
