#!/bin/bash
# One report per host over ssh, 16 at a time, archfit carried along in one file; then one picture of all:
#
#   archfit fleet carry archfit.pyz
#   examples/fleet/ssh.sh hosts.txt [TARGET]                      # hosts.txt: one host a line
set -euo pipefail

hosts=$1 target=${2:-}
reports=${REPORTS:-archfit-reports}
program=${PROGRAM:-archfit.pyz}
seconds=${SECONDS_PER_HOST:-300}
mkdir -p "$reports"

# Exit codes 3 and 4 of the doctor are answers, too; a host that does not answer leaves an empty report, which becomes a row.
ask() {
  local host=$1 place command
  place=$(timeout "$seconds" ssh -n -o BatchMode=yes -o ConnectTimeout=10 "$host" mktemp -d) || place=
  if [[ -z $place ]]; then
    : >"$reports/$host.json"
    return
  fi
  timeout "$seconds" scp -q -o BatchMode=yes "$program" "$host:$place/archfit.pyz" || true
  command=$(printf '%q ' env "ARCHFIT_HOST=$host" python3 "$place/archfit.pyz" doctor ${target:+"$target"} --json)
  timeout "$seconds" ssh -n -o BatchMode=yes "$host" "$command; rm -r $(printf '%q' "$place")" \
    >"$reports/$host.json" 2>"$reports/$host.log" || true
}
export -f ask
export reports program seconds target

# shellcheck disable=SC2016  # the inner bash expands it
grep -Ev '^[[:space:]]*(#|$)' "$hosts" | xargs -P 16 -I{} bash -c 'ask "$1"' _ {}
python3 "$program" fleet merge "$reports" || true
