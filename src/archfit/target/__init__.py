"""The only files that run inside the target's Python.

Each is a script for a child process: syntax of Python 3.6, standard library only (plus the package under test), one line of
JSON as its last line of output. They are never imported by archfit itself.
"""
