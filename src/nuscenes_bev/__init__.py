"""nuScenes for networks that look at the ground from above: keyframes, the samples made of them, pictures, a ray-cast set.

Needs numpy and pillow only and knows no network: `frames` reads the tables, `samples` makes images, matrices and labels of a
frame, `pictures` draws it, `synthetic` generates a set of the same shape.
"""
