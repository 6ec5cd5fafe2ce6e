"""What code is inside: files, folders, wheels, environments, and requirements read from the package index."""

from archfit.scan.look import ScanWish, scan, wheels_in

__all__ = ["ScanWish", "scan", "wheels_in"]
