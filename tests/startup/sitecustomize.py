"""Runs first in every Python process that a test starts: leaves out of it what only this environment has.

Inspect loads the entry points of all packages before an eval. Of those that are installed for the tests, inspect-evals
takes more CPU time than all else that an eval of ours imports; a user who does not ask for its tasks rarely has it. A
process whose command line names it loads it, and so do evals in the tests' own process.

It imports nothing: tests look at what a start of Python imports.
"""

import sys

LOADER_MODULE, LEFT_OUT = "inspect_ai._util.entrypoints", "inspect_evals"


class EntryPointFilter:
    """Finds one module of Inspect's as others do, and changes what it finds of entry points."""

    def find_spec(self, name, path=None, target=None):
        if name != LOADER_MODULE or any(LEFT_OUT in word for word in sys.argv):
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_change(module):
            execute(module)
            find_all = module.entry_points
            module.entry_points = lambda **words: [each for each in find_all(**words) if each.name != LEFT_OUT]

        spec.loader.exec_module = execute_and_change
        return spec


sys.meta_path.insert(0, EntryPointFilter())
