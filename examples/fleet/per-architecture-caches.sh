# For /etc/profile.d, the prolog of a job, or the entry of a container: a folder of its own for each GPU generation, for code that is
# compiled at run time and kept on a home folder that machines share. Sourced, not run; it changes nothing where there is no GPU.
#
# shellcheck shell=bash
_archfit_arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -u | paste -sd_ -)
if [ -n "$_archfit_arch" ]; then
  _archfit_arch="$(uname -m)-$_archfit_arch"
  # torch adds no folder for Python and CUDA to a place that is named, so they stand here, of the python that is active.
  _archfit_build=$(python3 -c '
import sys
try:
    from torch.version import __version__, cuda
except ImportError:
    __version__, cuda = "none", None
print("py%d%d_%s_cu%s" % (sys.version_info[0], sys.version_info[1], __version__, (cuda or "-").replace(".", "")))' 2>/dev/null || echo none)
  export TORCH_EXTENSIONS_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/torch_extensions/$_archfit_arch/$_archfit_build"
  # Triton races with itself on network file systems: a local disk, if there is one.
  export TRITON_CACHE_DIR="${TMPDIR:-/tmp}/triton-${USER:-$(id -un)}-$_archfit_arch"
  export CUDA_CACHE_PATH="$HOME/.nv/ComputeCache-$_archfit_arch"
fi
unset _archfit_arch _archfit_build
