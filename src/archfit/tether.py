"""Start a program that the kernel ends when its parent dies: ``python -I -S tether.py PARENT PROGRAM [ARGUMENT ...]``.

An installer that outlived a killed archfit would go on writing into a clone that the next one removes.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

if __name__ == "__main__":
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() == int(sys.argv[1]):  # else the parent died before the kernel was told
        os.execv(sys.argv[2], sys.argv[2:])
