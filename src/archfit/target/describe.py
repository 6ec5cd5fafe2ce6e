"""Child: what Python is this? Prints one line of JSON."""

import json
import os
import platform
import sys
import sysconfig


def wheel_tag():
    """cp311, cp313t; other implementations get their own two letters."""
    name = {"cpython": "cp", "pypy": "pp"}.get(sys.implementation.name, sys.implementation.name)
    free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return "%s%d%d%s" % (name, sys.version_info[0], sys.version_info[1], free_threaded)


def site_dirs():
    """Folders on the path that can hold installed packages, in the order Python looks."""
    here = os.path.dirname(os.path.abspath(__file__))
    return [p for p in sys.path if p and os.path.isdir(p) and os.path.abspath(p) != here]


print(
    json.dumps(
        {
            "executable": sys.executable,
            "prefix": sys.prefix,
            "base_prefix": getattr(sys, "base_prefix", sys.prefix),
            "version": platform.python_version(),
            "tag": wheel_tag(),
            "platform": sysconfig.get_platform().replace("-", "_").replace(".", "_"),
            "site_dirs": site_dirs(),
            "purelib": sysconfig.get_paths()["purelib"],
            "libc": " ".join(platform.libc_ver()).strip(),
        }
    )
)
