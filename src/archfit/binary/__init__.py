"""Bytes in, code objects out: the only room that knows how GPU code is stored in files."""
