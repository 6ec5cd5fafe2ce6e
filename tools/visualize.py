"""Draw what a checkpoint predicts; the same as `python -m lss_swin.visualize`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
    from lss_swin.visualize import main

    sys.exit(main())
