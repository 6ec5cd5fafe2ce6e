"""`python -m nuscenes_bev.synthetic DIR`."""

import sys

from nuscenes_bev.synthetic.dataset import main

if __name__ == "__main__":
    sys.exit(main())
