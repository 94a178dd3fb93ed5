"""The Python face of the native kernels: one module per subject, each with a readable twin.

Import the module you need (``from lightmill.kernels import saturation``); this package imports
none of them, so that starting up costs nothing.
"""
