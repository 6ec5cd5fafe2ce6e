"""archfit: make a PyTorch environment run on the GPU that is really in the machine."""

__version__ = "0.1.0"
