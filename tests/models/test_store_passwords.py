"""A password in a store's address: refused where it would be seen, and seen nowhere where it is not."""

import logging
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.server import FakeServer
from fakes.stores import Stores, execute, find_schema
from inspect_ai import Task, eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import Sample
from inspect_ai.model import get_model
from test_store import key, put

from archon_eval.cli import main
from archon_eval.errors import StoreError
from archon_eval.integrations.lm_eval_model import ArchonLM
from archon_eval.integrations.python import Archon
from archon_eval.models.open_store import open_store
from archon_eval.models.store_address import hide_password, refuse_password, refuse_passwords
from archon_eval.scorers.alpaca_eval import alpaca_eval
from archon_eval.solvers.archon import archon

SECRET = "s3cret/w@rd"
WRITTEN = "s3cret%2Fw%40rd"
GIVEN = f"postgresql://ann:{WRITTEN}@db.invalid/evals"


@pytest.fixture
def address(postgres_server: str, tmp_path: Path) -> Iterator[str]:
    """A store of a user with a password, over TCP."""
    stores = Stores(tmp_path, postgres_server)
    schema = find_schema(stores.new())
    port = re.search(r"port=(\d+)", postgres_server)
    assert port is not None
    execute(postgres_server, f"CREATE ROLE u{schema} LOGIN PASSWORD '{SECRET}'")
    execute(postgres_server, f"GRANT ALL ON SCHEMA {schema} TO u{schema}")
    yield f"postgresql://u{schema}:{WRITTEN}@127.0.0.1:{port[1]}/postgres?options=-csearch_path%3D{schema}"
    stores.close()
    execute(postgres_server, f"DROP ROLE u{schema}")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ann@db/evals", "postgresql://ann@db/evals"),
        ("postgresql://ann:pw@db/evals?sslmode=require", "postgresql://ann@db/evals?sslmode=require"),
        ("postgres://ann:p/w?x@db:5432/evals", "postgres://ann@db:5432/evals"),
        ("postgresql://ann:p@w@a:1,b:2/evals", "postgresql://ann@a:1,b:2/evals"),
        ("postgresql:///evals?user=ann&password=pw&host=/run", "postgresql:///evals?user=ann&host=/run"),
        ("postgresql://db/evals?password=pw", "postgresql://db/evals"),
        ("POSTGRESQL://ann:pw@db/evals", "POSTGRESQL://ann@db/evals"),
        ("postgresql://db/evals?%70assword=pw", "postgresql://db/evals"),  # libpq decodes names too
        ("postgresql://db/evals?oauth_client_secret=pw&port=1", "postgresql://db/evals?port=1"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, shown: str) -> None:
    assert hide_password(address) == shown and hide_password(shown) == shown
    if address == shown:
        refuse_password(address)
    else:
        with pytest.raises(StoreError, match=r"PGPASSWORD, ~/\.pgpass") as caught:
            refuse_password(address)
        assert shown in str(caught.value) and "pw" not in str(caught.value)


@pytest.mark.parametrize("store", ["postgresql://ann:s3,cret@db/evals", "postgres://ann:s3'cret}@db/evals,x=1"])
def test_a_password_with_what_may_end_an_address_is_refused(store: str) -> None:
    with pytest.raises(StoreError, match="may hold no password") as caught:
        refuse_passwords(["eval", f"store={store}"])
    assert "cret" not in str(caught.value)
    refuse_passwords(['{"store":"postgresql://ann@db/evals","grader":"me:you@there"}'])


def test_libpqs_other_form_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"named postgresql://user@host/database") as caught:
        open_store("host=db user=ann password=s3cret")
    assert "s3cret" not in str(caught.value) and not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "path",
    ["calls.db", "user=ann/port=1/calls.db", "C:/runs/calls.db", r"C:\runs\calls.db", "./a:b/calls.db", "/x/y@z:w.db"],
)
def test_a_path_is_a_path(path: str) -> None:
    refuse_password(path)
    assert hide_password(path) == path


@pytest.mark.parametrize("address", ["mysql://ann:pw@db/evals", "postgresqll://db/evals", "sqlite:///calls.db"])
def test_a_scheme_that_no_store_has_is_named(address: str) -> None:
    with pytest.raises(
        StoreError, match=r"an address begins with postgresql:// .*a file is given by its path"
    ) as caught:
        open_store(address)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("door", ["solver", "model", "lm-eval", "python"])
def test_every_door_refuses_a_password(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARCHON_STORE", raising=False)
    with pytest.raises(Exception) as caught:
        if door == "solver":
            archon("single", "sim/gpt-4o", store=GIVEN)
        elif door == "model":
            get_model("archon/single", models="sim/gpt-4o", store=GIVEN)
        elif door == "lm-eval":
            ArchonLM("single", "sim/gpt-4o", store=GIVEN)
        else:
            Archon("single", "sim/gpt-4o", store=GIVEN)
    said = str(caught.value)
    assert "an address may hold no password" in said and "s3cret" not in said


@pytest.mark.parametrize(
    "words",
    [
        ["store", "stats", GIVEN],
        ["store", "export", GIVEN, "--to", "x"],
        ["search", "--task", "archon_eval/math", "-S", f"store={GIVEN}", "-o", "out"],
        ["gate", "--baseline", "b.json", "--task", "archon_eval/math", "-S", f"store={GIVEN}"],
        ["ablate", "moa-lite", "--model-role", f"judge={{model: archon/single, model_args: {{store: {GIVEN}}}}}"],
    ],
)
def test_every_command_refuses_a_password(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    said = "".join(capsys.readouterr())
    assert "an address may hold no password" in said and "s3cret" not in said and not list(tmp_path.iterdir())


def test_an_eval_with_a_password_in_an_argument_leaves_no_log(tmp_path: Path) -> None:
    words = ["eval", "archon_eval/math", "-T", "sample=true", "--limit", "1", "--model", "none", "--solver", "archon"]
    words += ["-S", "architecture=single", "-S", "models=sim/gpt-4o", "-S", f"store={GIVEN}", "--log-dir", "logs"]
    done = subprocess.run(
        [sys.executable, "-m", "inspect_ai", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode and "an address may hold no password" in done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr and not list(tmp_path.glob("logs/*.eval"))


def test_a_password_from_the_environment_opens_the_store_and_is_written_nowhere(
    address: str,
    fake_server: FakeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Solver and judge find it under the address that is shown; the whole log is searched for it."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARCHON_STORE", address)
    fake_server.answer = lambda model, messages, nonce: "m"
    sample = Sample(id=1, input="Why?", metadata={"instruction": "Why?", "baseline_output": "Because."})
    for solver in (archon("single", "sim/gpt-4o"), archon("single", "sim/gpt-4o", store=hide_password(address))):
        task = Task([sample], solver=solver, scorer=alpaca_eval())
        (log,) = eval(task, model="none", model_roles={"judge": "openai/gpt-4o"}, display="none", log_dir="logs")
        assert log.status == "success", log.error
    assert len(fake_server.requests) == 1, "the judge was asked once, and its reply is on the server"
    with open_store(hide_password(address), read_only=True) as store:
        assert len(store.list_endpoints("openai/gpt-4o")) == 1 and store.count() == 2
        monkeypatch.setenv("ARCHON_STORE", address.replace(WRITTEN, "wr0ng"))
        with pytest.raises(StoreError, match="PGPASSWORD") as caught:
            open_store(hide_password(address))
    assert "wr0ng" not in str(caught.value)
    monkeypatch.setenv("ARCHON_STORE", address)
    for words in (["store", "stats"], ["store", "export", "--to", "out.jsonl"], ["report", "logs", "-o", "r.html"]):
        assert main(words) == 0
    captured = capfd.readouterr()
    written = [captured.out.encode(), captured.err.encode(), caplog.text.encode()]
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        written.append(file.read_bytes())
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as members:
                written += [members.read(name) for name in members.namelist()]
    assert len(written) > 10
    for secret in (SECRET, WRITTEN, "s3cret"):
        assert not any(secret.encode() in text for text in written)


def test_a_password_from_libpqs_own_places_opens_the_store(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = hide_password(address)
    monkeypatch.delenv("ARCHON_STORE", raising=False)
    with pytest.raises(StoreError, match="passwords come from PGPASSWORD"):
        open_store(shown)
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with open_store(shown) as store:
        put(store, 0)
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:*:*:*:{SECRET}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    with open_store(shown) as store:
        assert store.get(key(0)) is not None


def test_what_cannot_be_reached_is_said_before_a_call(
    address: str, fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", SECRET)
    shown = hide_password(address)
    for wrong, said in (
        (re.sub(r":\d+/", ":1/", shown), "refused"),
        (shown.replace("127.0.0.1", "no-such-host.invalid"), "resolve|known"),
        (shown.replace("/postgres?", "/absent?"), 'database "absent" does not exist'),
        (shown + "&sslmode=certainly", "sslmode"),
        (re.sub(r"search_path%3D\w+", "search_path%3Dabsent", shown), "search_path does not exist"),
    ):
        with pytest.raises(PrerequisiteError, match=f"cannot open call store .*(?:{said})"):
            archon("single", "openai/gpt-4o", store=wrong)
    assert not fake_server.requests


def test_a_missing_psycopg_is_said_to_be_missing() -> None:
    program = """
import sys
sys.modules["psycopg"] = None
from archon_eval.cli import main
sys.exit(main(["store", "stats", "postgresql://ann@db.invalid/evals"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "pip install 'archon-eval[postgres]'" in done.stderr
