"""Many machines: reports in, one picture and one plan out.

>>> import archfit.fleet
>>> nodes = archfit.fleet.check("auto")            # one record for each node of a Ray cluster
>>> fleet = archfit.fleet.assemble(nodes)          # causes, drift, shared folders, one plan
"""

from archfit.fleet.ask import check
from archfit.fleet.assemble import assemble
from archfit.fleet.diff import compare
from archfit.fleet.read import read_nodes

__all__ = ["assemble", "check", "compare", "read_nodes"]
