#!/usr/bin/env bash
# 把当前激活的环境（或给出的环境）升级到支持 RTX 5090 的 PyTorch。
#
#   bash 升级PyTorch支持RTX5090.sh                 先说明要改什么，再询问
#   bash 升级PyTorch支持RTX5090.sh .venv --yes     不询问
#   bash 升级PyTorch支持RTX5090.sh --dry-run       什么都不改，只给出等价的 pip 和 uv 命令
#
# 其余选项原样传给 archfit upgrade。旧环境会保留，可用 ./run rollback 恢复。
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
gpu=(--gpu "RTX 5090")
lang=(--lang zh)
for word in "$@"; do
  case "$word" in
    --gpu | --gpu=*) gpu=() ;;
    --lang | --lang=*) lang=() ;;
  esac
done
# 机器里有驱动时，以驱动报告的 GPU 为准。
if [[ -e /proc/driver/nvidia/version || -e /dev/dxg ]]; then gpu=(); fi

exec "$here/run" upgrade "$@" ${gpu[@]+"${gpu[@]}"} ${lang[@]+"${lang[@]}"}
