"""The runner inside a worker container: a supervisor (process 1), a zygote, and one fresh process per test.

The supervisor talks to the host and holds inputs; the zygote holds nothing but a warm interpreter and forks a child
per test; the child drops to the slot's uid before it loads the compiled program. Inputs, outputs and code travel as
memory files whose descriptors are passed along, so no process ever holds another test's data. After each test every
process of the slot's uids is killed and waited for. It uses the standard library only: `bundle()` is sent as it stands.

    python3 -c BUNDLE UID        (the host speaks to it over stdin and stdout)
"""

from pathlib import Path

MODULES = ("wire", "child", "calls", "zygote", "meter", "supervisor")


def bundle() -> str:
    """These modules as one program for `python3 -c`."""
    texts = {name: Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    return f"""
import sys, types
for name in ("archon_eval", "archon_eval.sandbox", {__name__!r}):
    sys.modules[name] = types.ModuleType(name)
for name, text in {texts!r}.items():
    module = sys.modules[f"{__name__}.{{name}}"] = types.ModuleType(f"{__name__}.{{name}}")
    exec(compile(text, f"<{{name}}>", "exec"), module.__dict__)
module.main(int(sys.argv[1]))
"""
