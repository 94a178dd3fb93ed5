"""The kernels once more, in NumPy, to be read and to test the fast ones against.

One module per kernel module, the same function names and arguments. They are slow and say what
is meant; where the order of the arithmetic is the same they give the same bits.
"""
