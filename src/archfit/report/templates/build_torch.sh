#!/usr/bin/env bash
# @about@
#
# @usage-title@
#   bash @file@ --check      @usage-check@
#   bash @file@              @usage-build@
#   bash @file@ --install    @usage-install@
set -euo pipefail

RELEASE="@release@"
CUDA="@cuda@"
ARCH_LIST="@arch_list@"
PYTHON=@python@
GCC_FROM=@gcc_from@
GCC_BELOW=@gcc_below@
DISK_GB=@disk_gb@
JOB_GB=@job_gb@
WORK="${WORK:-$PWD/pytorch-v$RELEASE}"

mode="${1:-build}"
failed=0

say() { printf '%s\n' "$*"; }
good() { say "  ok    $*"; }
bad() {
  say "  @missing@ $*"
  failed=1
}

check_compiler() {
  local nvcc release
  nvcc="${CUDA_HOME:-/usr/local/cuda-$CUDA}/bin/nvcc"
  [ -x "$nvcc" ] || nvcc="$(command -v nvcc || true)"
  if [ -z "$nvcc" ]; then
    bad "@need-nvcc@"
    return
  fi
  release="$("$nvcc" --version | sed -n 's/.*release \([0-9][0-9.]*\),.*/\1/p')"
  if [ "${release%%.*}" != "${CUDA%%.*}" ] || [ "$(printf '%s\n%s\n' "$CUDA" "$release" | sort -V | head -n 1)" != "$CUDA" ]; then
    bad "nvcc $release: @need-cuda@"
    return
  fi
  CUDA_HOME="$(dirname "$(dirname "$(readlink -f "$nvcc")")")"
  export CUDA_HOME
  good "nvcc $release ($CUDA_HOME)"
}

check_gcc() {
  local version
  version="$("${CXX:-g++}" -dumpfullversion 2>/dev/null | cut -d. -f1 || true)"
  if [ -z "$version" ] || [ "$version" -lt "$GCC_FROM" ] || [ "$version" -ge "$GCC_BELOW" ]; then
    bad "g++ ${version:--}: @need-gcc@"
  else
    good "g++ $version"
  fi
}

check_tools() {
  local tool
  for tool in git cmake ninja; do
    if command -v "$tool" >/dev/null || "$PYTHON" -c "import shutil, sys; sys.exit(shutil.which('$tool') is None)" 2>/dev/null; then
      good "$tool"
    elif [ "$tool" = git ]; then
      bad "git"
    else
      say "  -     $tool: @comes-later@"
    fi
  done
  if "$PYTHON" -c "import sysconfig, os, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))"; then
    good "$("$PYTHON" --version), Python.h"
  else
    bad "@need-headers@"
  fi
}

check_cudnn() {
  if ls "${CUDNN_ROOT:-/usr}"/include/cudnn_version.h "${CUDNN_ROOT:-/usr}"/include/*/cudnn_version.h "${CUDA_HOME:-/usr/local/cuda}"/include/cudnn_version.h >/dev/null 2>&1; then
    good "cuDNN"
  else
    say "  -     @no-cudnn@"
  fi
}

check_room() {
  local free memory
  free="$(df -Pk "$(dirname "$WORK")" | awk 'NR == 2 { print int($4 / 1000000) }')"
  if [ "$free" -lt "$DISK_GB" ]; then bad "@disk@ $free GB: @need-disk@"; else good "@disk@ $free GB"; fi
  memory="$(awk '/MemAvailable/ { print int($2 / 1000000) }' /proc/meminfo)"
  jobs=$((memory / JOB_GB))
  [ "$jobs" -lt "$(nproc)" ] || jobs="$(nproc)"
  [ "$jobs" -ge 1 ] || jobs=1
  good "@memory@ $memory GB: MAX_JOBS=${MAX_JOBS:-$jobs}"
}

say "@checking@"
check_compiler
check_gcc
check_tools
check_cudnn
check_room
if [ "$failed" -ne 0 ]; then
  say "@not-ready@"
  exit 1
fi
[ "$mode" != "--check" ] || exit 0

[ -d "$WORK/.git" ] || git clone --depth 1 --branch "v$RELEASE" https://github.com/pytorch/pytorch "$WORK"
cd "$WORK"
git submodule update --init --recursive --depth 1
"$PYTHON" -m pip install -r requirements.txt cmake ninja wheel

export TORCH_CUDA_ARCH_LIST="$ARCH_LIST" USE_CUDA=1 BUILD_TEST=0
export MAX_JOBS="${MAX_JOBS:-$jobs}"
export PYTORCH_BUILD_VERSION="$RELEASE" PYTORCH_BUILD_NUMBER=1
"$PYTHON" -m pip wheel --no-build-isolation --no-deps -v -w dist .
wheel="$(find dist -name 'torch-*.whl' | sort | tail -n 1)"
say "@built@ $WORK/$wheel"

if [ "$mode" = "--install" ]; then
  "$PYTHON" -m pip install --force-reinstall --no-deps "$wheel"
  cd /
  "$PYTHON" -c "import torch; x = torch.arange(8.0, device='cuda'); print(torch.__version__, (x @ x).item())"
else
  say "@then@ $PYTHON -m pip install --force-reinstall --no-deps $WORK/$wheel"
fi
