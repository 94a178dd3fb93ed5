"""Measurements of Lightmill, alone and side by side with the field's reference pipeline.

``python -m benchmarks NAME --help``; see README.md in this folder.
"""
