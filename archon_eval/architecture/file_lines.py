"""Where a YAML or JSON file says what, so that a message can name the line.

>>> find_line(("a", 1, "gone"), find_lines("a:\\n- x\\n- y\\n"))
3
"""

from collections.abc import Mapping

import yaml

FilePath = tuple[str | int, ...]
"""The way to a value, such as ("tasks", 0, "name")."""
Lines = Mapping[FilePath, int]
"""The line of each value; 0 for what an option says instead of the file."""


def find_lines(text: str) -> dict[FilePath, int]:
    """The line of every key and item of a text, by its path; none of a text that cannot be read."""
    lines: dict[FilePath, int] = {}

    def visit(node: yaml.Node, path: FilePath) -> None:
        children: list[tuple[str | int, yaml.Node, yaml.Node]] = []
        if isinstance(node, yaml.MappingNode):
            children = [(str(key.value), key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            children = [(place, item, item) for place, item in enumerate(node.value)]
        for name, mark, child in children:
            lines[*path, name] = mark.start_mark.line + 1
            visit(child, (*path, name))

    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return lines
    if root is not None:
        visit(root, ())
    return lines


def find_line(path: FilePath, lines: Lines) -> int:
    """The line of a value, or of what it is in; 0 where it has none."""
    return next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), 0)
