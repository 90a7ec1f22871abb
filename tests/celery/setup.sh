#!/usr/bin/env bash
# Makes a virtual environment with Celery and django-tenants: `setup.sh DIRECTORY`.
# Fast when it is there. Says in its last line of errors what is missing, and how to get it.
set -euo pipefail
requirements=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/requirements.txt
venv=$1

command -v python3 >/dev/null || { echo 'python3 (apt-get install python3-venv)' >&2; exit 1; }
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'python3 of 3.11 or later' >&2; exit 1; }

mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
if command -v flock >/dev/null; then flock 9; fi
if cmp --silent "$requirements" "$venv/requirements.txt"; then exit; fi

rm -rf "$venv"
python3 -m venv "$venv" >/dev/null || { echo 'python3-venv (apt-get install python3-venv)' >&2; exit 1; }
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" ||
  { echo 'the packages of tests/celery/requirements.txt (a network that reaches PyPI)' >&2; exit 1; }
cp "$requirements" "$venv/requirements.txt"
