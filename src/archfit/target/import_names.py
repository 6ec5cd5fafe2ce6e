"""Child: import the modules named on the command line, one after the other. Prints one line of JSON."""

import importlib
import json
import os
import sys
import time
import traceback

answer = os.dup(1)  # ours alone: what packages print, even at exit, goes to stderr
os.dup2(2, 1)
started = time.time()
result = {"failed": None, "error": None}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:  # SystemExit and friends are failures here too
        result["failed"] = name
        result["error"] = "%s: %s" % (type(error).__name__, str(error).strip() or traceback.format_exc(limit=1))
        break
result["seconds"] = round(time.time() - started, 3)
os.write(answer, (json.dumps(result) + "\n").encode())
