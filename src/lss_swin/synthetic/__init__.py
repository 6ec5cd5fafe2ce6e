"""A ray-cast data set that is shaped like nuScenes: `python -m lss_swin.data generate DIR`.

Everything is drawn from the seed. Standard library, numpy and Pillow only.
"""

from lss_swin.synthetic.dataset import default_root, ensure, generate, main, processors
from lss_swin.synthetic.scene import Options

__all__ = ["Options", "default_root", "ensure", "generate", "main", "processors"]
