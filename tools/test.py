"""Evaluate a checkpoint; the same as `python -m lss_swin.evaluate`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
    from lss_swin.evaluate import main

    sys.exit(main())
