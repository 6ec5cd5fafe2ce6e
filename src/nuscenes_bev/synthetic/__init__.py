"""A ray-cast data set that is shaped like nuScenes: `python -m nuscenes_bev.synthetic DIR`.

Everything is drawn from the seed. Standard library, numpy and Pillow only.
"""

from nuscenes_bev.synthetic.dataset import default_root, ensure, generate, main, processors
from nuscenes_bev.synthetic.scene import Options

__all__ = ["Options", "default_root", "ensure", "generate", "main", "processors"]
