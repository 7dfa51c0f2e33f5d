"""Which architectures a search may try: axes, their combinations, and what tells one combination from another.

    >>> space = load_space("paper")  # or "my-space.yaml"; v6 section 3.3
    >>> len(space.list_configurations(models=10))
    9576

A configuration is a point on the axes; with models ranked as generators and as fusers it becomes an architecture:

    space.build_architecture(configuration, generators=("a", "b"), fusers=("b", "a"))

`configuration` has the points, `axes` the space and its list, `layout` what a point is as layers, `features` what the
surrogate sees of it, `parse` presets and files.
"""

from archon_eval.search.space.axes import EVALUATIONS, Insert, Space
from archon_eval.search.space.configuration import Configuration, extract_axes, list_table_rows
from archon_eval.search.space.features import Array, compute_features
from archon_eval.search.space.layout import RANKER_TOP_K, LayerBuilder, Step, list_steps
from archon_eval.search.space.parse import PRESETS, load_space

__all__ = [
    "EVALUATIONS",
    "PRESETS",
    "RANKER_TOP_K",
    "Array",
    "Configuration",
    "Insert",
    "LayerBuilder",
    "Space",
    "Step",
    "compute_features",
    "extract_axes",
    "list_steps",
    "list_table_rows",
    "load_space",
]
