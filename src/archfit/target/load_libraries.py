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

TORCHS_OWN = re.compile(r"lib(torch(_\w+)?|c10\w*|cu\w*|nv\w*|nccl)\.so")
answer = os.dup(1)  # ours alone: what libraries print, even at exit, goes to stderr
os.dup2(2, 1)
started = time.time()
result = {"failed": None, "error": None}
try:
    import torch  # noqa: F401 - its libraries must be there before those that ask for them
except BaseException as error:
    result["failed"], result["error"] = "torch", "%s: %s" % (type(error).__name__, error)
pending, errors = list(sys.argv[1:]), {}
progress = not result["failed"]
while pending and progress:  # a library may need another of its own package, which is there once that one is loaded
    progress = False
    for path in list(pending):
        try:
            ctypes.CDLL(path, mode=os.RTLD_NOW)
            pending.remove(path)
            progress = True
        except OSError as error:
            errors[path] = str(error)
for path in pending if not result["failed"] else []:
    absent = re.match(r"(\S+): cannot open shared object file", errors[path])
    if absent and not TORCHS_OWN.match(absent.group(1)):
        continue  # made for something that need not be here: torchaudio has a library for each FFmpeg
    result["failed"], result["error"] = os.path.basename(path), errors[path]
    break
result["seconds"] = round(time.time() - started, 3)
os.write(answer, (json.dumps(result) + "\n").encode())
