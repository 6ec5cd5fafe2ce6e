"""The operators on the CPU. Their tests run in the environment of the training workload: train-test."""

from __future__ import annotations

import os

# Triton's kernels run in its interpreter here. The tests that compile them start a process without it.
os.environ["TRITON_INTERPRET"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
