"""Reference files: which one calibrates these data."""

from lightmill.reference.local import References

__all__ = ["References"]
