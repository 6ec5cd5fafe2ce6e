#!/bin/bash
# One report per node, then one picture of all:
#
#   sbatch --nodes=12 examples/fleet/slurm.sh                     # any 12 nodes
#   sbatch --nodelist=gpu[01-12] examples/fleet/slurm.sh          # these
#   TARGET=/shared/envs/train LEVEL=kernels sbatch …              # another environment; kernels, too
#
# Slurm shows a job only the GPUs that it was given, so the job takes whole nodes.
#SBATCH --job-name=archfit-fleet
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
#SBATCH --time=00:15:00
set -euo pipefail

reports=${REPORTS:-$PWD/archfit-reports}
read -ra archfit <<<"${ARCHFIT:-archfit}" # or: ARCHFIT="python3 /shared/archfit.pyz"
target=()
if [[ -n ${TARGET:-} ]]; then target=("$TARGET"); fi
mkdir -p "$reports"

# A node with problems ends with another exit code than 0, and is no reason to stop the others.
each_node() {
  local what=$1
  shift
  srun --ntasks-per-node=1 --kill-on-bad-exit=0 --wait=0 --output="$reports/%N.$what.json" --error="$reports/%N.$what.log" \
    "${archfit[@]}" "$@" --json || true
}

each_node doctor doctor "${target[@]}"
if [[ -n ${LEVEL:-} ]]; then each_node verify verify "${target[@]}" --level "$LEVEL"; fi

"${archfit[@]}" fleet merge "$reports" --image -o "$reports/../archfit-fleet.md" || true
