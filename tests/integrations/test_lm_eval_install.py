"""Installing the wheel makes released lm-eval versions know the model; uninstalling leaves nothing behind."""

import subprocess
import sys
import venv
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKE_LM_EVAL = {
    "__init__.py": "",
    "api/__init__.py": "",
    "api/registry.py": """
class Registry(dict):
    def register(self, name, target):
        self[name] = target
model_registry = Registry()
""",
    "models/__init__.py": """
from lm_eval.api.registry import model_registry
assert not model_registry, "filled before its own table"
model_registry.register("hf", "lm_eval.models.huggingface:HFLM")
""",
}
LOOK = """
import sys, lm_eval.models
from lm_eval.api.registry import model_registry
print(dict(model_registry), "archon_eval.integrations.lm_eval_model" in sys.modules, "inspect_ai" in sys.modules)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no wheel can be built here: {done.stderr[-300:]}")
    return next(folder.glob("*.whl"))


def test_install_and_uninstall(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    for name, text in FAKE_LM_EVAL.items():
        (site / "lm_eval" / name).parent.mkdir(parents=True, exist_ok=True)
        (site / "lm_eval" / name).write_text(text)
    before = {path.name for path in site.iterdir()}

    def pip(*arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(python), *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def look() -> str:
        done = subprocess.run([python, "-c", LOOK], capture_output=True, text=True, check=True)
        assert not done.stderr
        return done.stdout

    pip("install", "-q", "--no-deps", "--no-index", str(wheel))
    assert (site / "archon_eval_lm_eval.pth").is_file()
    assert (
        "'hf': 'lm_eval.models.huggingface:HFLM', 'archon': 'archon_eval.integrations.lm_eval_model:ArchonLM'" in look()
    )
    assert look().endswith("False False\n")
    pip("uninstall", "-q", "-y", "archon-eval")
    assert {path.name for path in site.iterdir()} - {"__pycache__"} == before
    assert not list(site.rglob("*archon*"))
    assert "archon" not in look()


def test_a_start_of_python_with_the_hook_imports_nothing_heavy() -> None:
    code = "import sys; print([m for m in sys.modules if 'archon' in m], {'typing', 'inspect_ai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['_archon_eval_lm_eval'] set()\n"


def test_later_versions_find_the_entry_point() -> None:
    from archon_eval.integrations.lm_eval_model import ArchonLM

    (point,) = entry_points(group="lm_eval.models", name="archon")
    assert point.load() is ArchonLM
