#!/usr/bin/env bash
# The load test: 200 tenants and eight that move, a row of the same key in each, and faults. Every answer is compared.
#
#     tests/load.sh [every-checkout] [when-changed] [first-statement]      all by default
#
# RIGHT      how many right answers are asked for, of each            1000000
# LIMIT      seconds after which that is given up, for each           1800
# MOVING     what is renamed meanwhile: domains, where a tenant's     domains
#            path goes on to public; schemas too, where it does not;
#            schemas-over-public, which fails: see CONTRIBUTING.md
# CLIENTS    connections of clients, and threads of wrk               32
#
# Exit: 0 as it should be, 1 not, 77 if there is no `wrk`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

RIGHT=${RIGHT:-1000000} LIMIT=${LIMIT:-1800} CLIENTS=${CLIENTS:-32} MOVING=${MOVING:-domains}
ROUND=20

command -v wrk >/dev/null || { echo "wrk is not installed: apt-get install wrk, or brew install wrk" >&2; exit 77; }
cargo build --release --locked --quiet -p tenant-schemas-load
program=${CARGO_TARGET_DIR:-target}/release/tenant-schemas-load

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

# Sets the counts of a round: right, wrong, away, busy, failed, other, leaked, sockets, late.
drive() {
  local line
  line=$(timeout $(($1 + 30)) wrk -t "$CLIENTS" -c "$CLIENTS" -d "$1s" --timeout 15s -s tests/load/check.lua \
    "http://$address" -- "$work/tenants" "${2:-}" | grep '^counted ') || fail "wrk did not finish"
  echo "  $line"
  eval "${line#counted }"
}

# Reads a line from the server.
hear() { IFS= read -r -t "$1" heard <&"$from" || fail "the server does not answer"; }

run() {
  local set_calls=$1 begun all_right=0 all_busy=0 all_failed=0 all_away=0 pid
  echo "== $set_calls, $MOVING"
  coproc SERVER { exec "$program" "$set_calls" "$MOVING" "$work/tenants"; }
  pid=$SERVER_PID
  # Bash forgets its own when the server ends.
  exec {from}<&"${SERVER[0]}" {to}>&"${SERVER[1]}"
  hear 300
  address=${heard#ready }

  # Control: the checker sees what is leaked on purpose, and without faults nothing fails.
  echo "control: one request in a hundred asks for another tenant's secret"
  drive 5 control
  ((leaked > 0 && wrong == leaked)) || fail "$leaked answers were another tenant's, $wrong were found"
  ((busy + failed + other + sockets == 0)) || fail "requests failed without faults"

  echo "with faults"
  echo faults >&"$to"
  begun=$SECONDS
  while ((all_right < RIGHT)); do
    ((SECONDS - begun < LIMIT)) || fail "only $all_right right answers in $LIMIT seconds"
    drive "$ROUND"
    ((wrong == 0)) || fail "$wrong answers were another tenant's"
    ((other + sockets == 0)) || fail "$other answers, and $sockets connections lost, that no fault explains"
    ((all_right += right, all_busy += busy, all_failed += failed, all_away += away)) || true
  done
  echo "in $((SECONDS - begun)) s: right $all_right, wrong 0, 503 $all_busy, 500 $all_failed, 404 of tenants that moved $all_away"
  echo calm >&"$to"
  hear 60
  echo "$heard"

  # Nothing fails any more, once the directory listens again.
  sleep 3
  echo "without faults"
  drive 5
  ((wrong + busy + failed + other + sockets == 0)) || fail "requests failed when the faults had ended"
  echo end >&"$to"
  cat <&"$from"
  wait "$pid" || fail "the pool is not as it should be"
  exec {from}<&- {to}>&-
}

echo "$(nproc) processors, $(uname -sm), $(rustc --version | cut -d' ' -f1,2), $CLIENTS clients"
(($# > 0)) || set -- every-checkout when-changed first-statement
for set_calls in "$@"; do
  run "$set_calls"
done
echo "passed"
