"""Operators of bird's-eye-view models, compiled for whatever GPU is there, each beside the same function in plain PyTorch.

Any model can use them; they need torch, and Triton where there is a GPU:

    from bev_ops import backend
    from bev_ops.splat import splat

    backend.choose(torch.device("cuda"))  # Triton if it works and is right there, else PyTorch; says which and why
    bev = splat(depth, feature, cells, num_cells)
"""
