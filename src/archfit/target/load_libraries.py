"""Child: import torch, then load each library named on the command line, all its symbols at once.

An extension that was compiled against another torch fails here with the symbol it misses; a plain import of its package would
not touch it. Prints one line of JSON.
"""

import ctypes
import json
import os
import re
import sys
import time

answer = os.dup(1)  # ours alone: what libraries print, even at exit, goes to stderr
os.dup2(2, 1)
started = time.time()
result = {"failed": None, "error": None}
try:
    import torch  # noqa: F401 - its libraries must be there before those that ask for them
except BaseException as error:
    result["failed"], result["error"] = "torch", "%s: %s" % (type(error).__name__, error)
for path in sys.argv[1:]:
    if result["failed"]:
        break
    try:
        ctypes.CDLL(path, mode=os.RTLD_NOW)
    except OSError as error:
        absent = re.match(r"(\S+): cannot open shared object file", str(error))
        if absent and not re.match("lib(torch|c10|cu|nv|nccl)", absent.group(1)):
            continue  # made for something that need not be here: torchaudio has a library for each FFmpeg
        result["failed"], result["error"] = os.path.basename(path), str(error)
result["seconds"] = round(time.time() - started, 3)
os.write(answer, (json.dumps(result) + "\n").encode())
