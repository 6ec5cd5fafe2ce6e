"""Operators that are compiled for whatever GPU is there, each beside the same function in plain PyTorch."""
