"""What is taken out before something is shared, and what has to stay."""

from __future__ import annotations

import getpass
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archfit.redact import redact

TAKEN = {
    "export HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz": "export HF_TOKEN=<token>",
    "wandb: api_key: 0123456789abcdef0123456789abcdef01234567": "wandb: api_key: <token>",
    "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefgh": "Authorization: Bearer <token>",
    "pip install --index-url https://bob:s3cret@pypi.corp/simple": "pip install --index-url https://<user>@<host>/simple",
    "ghp_ABCDEFGHIJKLMNOPQRSTUVWXYZ012345": "<token>",
    "password = 'hunter2!'": "password = '<token>'",
    "mail to li.wei@example.com.cn please": "mail to <email> please",
    "/home/liwei/bev/train.py": "/home/<user>/bev/train.py",
    "C:\\Users\\Li Wei\\env": "C:\\Users\\<user> Wei\\env",
    "D:\\x C:\\Users\\liwei\\AppData": "D:\\x C:\\Users\\<user>\\AppData",
    "/Users/anna/venv/lib": "/Users/<user>/venv/lib",
    "liwei@gpu-07:~/bev$ python train.py": "<user>@<host>:~/bev$ python train.py",
    "Jun 20 09:11:02 node-17 python[12]: boom": "Jun 20 09:11:02 <host> python[12]: boom",
    "gpu17:123:456 [0] NCCL INFO Bootstrap : Using eth0:10.11.12.13<0>": "<host>:123:456 [0] NCCL INFO Bootstrap : Using eth0:<ip><0>",
    "hostname=gpu17.cluster.local ; file=x": "hostname=<host> ; file=x",
    "connect to fe80::1ff:fe23:4567:890a failed": "connect to <ip> failed",
    "ether 02:42:ac:11:00:02": "ether <mac>",
}
KEPT = [
    "/root/miniconda3/envs/x/lib/python3.10/site-packages/torch/lib/libtorch_cuda.so",
    "nvidia-cudnn-cu12==9.1.0.70",
    "Driver Version: 570.86.16   CUDA Version: 12.8",
    "torch 2.4.1+cu124, cuDNN version 8.9.7.29",
    "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "git clone git@github.com:org/repo.git",
    "http://localhost:8080 and 127.0.0.1",
    "2025-06-20 09:11:02,123 - INFO - x",
    "undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationE",
    "tokens per second: 123456",
    "The tokenizer has a special token: None",
]


@pytest.mark.parametrize(("text", "expected"), TAKEN.items())
def test_what_is_taken_out(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("text", KEPT)
def test_what_stays(text: str) -> None:
    assert redact(text) == text


def test_a_name_seen_once_is_taken_out_everywhere() -> None:
    assert redact("/home/liwei/a\nowner: liwei") == "/home/<user>/a\nowner: <user>"


def test_the_names_of_this_machine_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "zhangsan")
    monkeypatch.setattr(socket, "gethostname", lambda: "sugon-01.corp")
    assert redact("zhangsan on sugon-01 (sugon-01.corp)") == "<user> on <host> (<host>)"


@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
