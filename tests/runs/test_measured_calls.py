"""What layers took in logs, by their numbers: in a cascade, answers differ in which layers were asked."""

from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes

from archon_eval.architecture.load import load_architecture
from archon_eval.runs.measured_calls import measure_calls
from archon_eval.solvers.archon import archon

ROUTED = {
    "name": "routed",
    "router": {"rows": [{"when": {"words": {"max": 4}}, "stage": "strong"}], "default": "cheap", "only": True},
    "cascade": [
        {
            "name": "cheap",
            "layers": [{"generator": {"model": "sim/gpt-4-turbo", "samples": 4}}, {"vote": {"top_k": 1}}],
        },
        {"name": "strong", "layers": [{"generator": {"model": "sim/gpt-4o", "samples": 2}}, {"fuser": "sim/gpt-4o"}]},
    ],
}


def test_layers_of_stages_that_were_not_asked_took_nothing(tmp_path: Path) -> None:
    asked = ["What is 2 + 2?", "What is 2 + 2, and what is 3 + 3?", "Why?", "And why?"]
    task = Task(dataset=[Sample(text, target="4") for text in asked], scorer=includes())
    eval(task, solver=archon(architecture=ROUTED), model="none", display="none", log_dir=str(tmp_path))
    measured = measure_calls([tmp_path], load_architecture(ROUTED).fingerprint)
    assert [(layer.number, layer.kind, layer.calls) for layer in measured.layers] == [
        (1, "router", (0, 0, 0)),
        (2, "generator", (0, 2, 4)),
        (3, "vote", (0, 0, 0)),
        (4, "generator", (0, 1, 2)),
        (5, "fuser", (0, 0.5, 1)),
    ]
    assert all(layer.tokens and layer.dollars for layer in measured.layers)
