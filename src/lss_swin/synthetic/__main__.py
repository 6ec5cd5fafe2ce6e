"""`python -m lss_swin.synthetic DIR`."""

import sys

from lss_swin.synthetic.dataset import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
