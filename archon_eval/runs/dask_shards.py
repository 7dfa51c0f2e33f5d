"""Shards of an eval on the workers of a Dask cluster.

    with connect_shards("tcp://10.0.0.1:8786", words) as start_shard:
        run_sharded(words, shards=4, start_shard=start_shard)

The task's file and whatever file an option names go to the workers by value (`file_bundle`), logs of parts come back,
and so does what a part says while it runs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archon_eval.architecture.load import load_architecture
from archon_eval.errors import ArchitectureError, DataError
from archon_eval.runs.dask_cluster import DaskCluster, MessageBox, RemoteCall, WorkerCheck
from archon_eval.runs.dask_worker import FOLDER_MARK
from archon_eval.runs.file_bundle import BundleBuilder, FileBundle
from archon_eval.runs.job_files import STORE_OPTION, list_modules
from archon_eval.runs.log_folder import is_address
from archon_eval.runs.shard_crew import StartShard
from archon_eval.runs.shard_parts import PASSING_OPTIONS
from archon_eval.runs.shard_process import ANSWER_REQUEST

_CHECK = "archon_eval.runs.shard_worker:list_missing"


class DaskShard:
    """A shard whose parts run on any worker that is free."""

    def __init__(
        self,
        cluster: DaskCluster,
        words: Sequence[str],
        bundle: FileBundle,
        number: int,
        on_message: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._cluster, self._words, self._bundle, self._number = cluster, tuple(words), bundle, number
        self._messages = MessageBox(on_message)

    def run(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What came of a part.

        Raises:
            WorkerLostError: the worker died, and the part's log with it.
            SearchError: no worker can run it, or the cluster is lost.
        """
        args = {**request, "folder": FOLDER_MARK, "words": self._words}
        name = f"part {Path(request['folder']).name}"
        call = RemoteCall(name, ANSWER_REQUEST, args, self._bundle, request["folder"], self._messages)
        return dict(self._cluster.submit(call).result())

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the part under way."""
        self._messages.send(message)

    def interrupt(self) -> None:
        """End the part under way as Ctrl-C does."""
        self.send({"do": "interrupt"})

    def stop(self) -> None:
        """Its parts have ended."""

    def list_notes(self) -> list[str]:
        """None: the cluster says its own when there is something to say."""
        return []

    def close(self) -> None:
        """The cluster is closed by who opened it."""


@contextmanager
def connect_shards(address: str, words: Sequence[str]) -> Iterator[Callable[[Mapping[str | int, str]], StartShard]]:
    """What starts shards on a cluster, once the digests of the eval's samples are known.

    Raises:
        DataError: a store that is a file, or a file that cannot be sent.
        SearchError: Dask is not installed, or there is no cluster at the address.
    """
    packed, bundle = pack_words(words, Path.cwd())
    with DaskCluster(address) as cluster:

        def prepare(digests: Mapping[str | int, str]) -> StartShard:
            args = {"words": packed, "digests": list(digests.items())}
            cluster.require(WorkerCheck(_CHECK, args, bundle))
            if text := bundle.describe():
                cluster.say(text)
            return lambda number, on_message: DaskShard(cluster, packed, bundle, number, on_message)

        yield prepare


def pack_words(words: Sequence[str], start: Path) -> tuple[list[str], FileBundle]:
    """The words of `inspect eval` as they are in the unpacked bundle, and the bundle.

    Args:
        words: as they were typed.
        start: the folder from which relative paths are taken.

    Raises:
        DataError: a store that is a file, or a file that cannot be sent.
    """
    builder, packed = BundleBuilder(start), list[str]()
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        option, equals, value = word.partition("=")
        is_passing = before in PASSING_OPTIONS or option in PASSING_OPTIONS
        if is_passing or (word.startswith("-") and not equals):
            packed.append(word)
        elif option == STORE_OPTION and before in ("-S", "-M"):
            if not is_address(value):
                raise DataError(
                    f"store={value}: workers of a cluster share no file; name a store that all of them reach, such as "
                    "store=postgresql://user@host/database"
                )
            packed.append(word)
        elif equals:
            packed.append(f"{option}={builder.add_value(value, option)}")
            if option == "architecture":
                _add_components(builder, value)
        else:
            packed.append(builder.add_value(builder.add_task(word)))
    return packed, builder.build()


def _add_components(builder: BundleBuilder, architecture: str) -> None:
    try:
        mapping = load_architecture(architecture).to_mapping()
    except ArchitectureError:  # the eval itself says so
        return
    for module in list_modules(mapping):
        builder.add_module(module)
