"""The report of a demonstration: one HTML file with pictures, numbers and how it was made."""

from lightmill.cli.report.page import write_report

__all__ = ["write_report"]
