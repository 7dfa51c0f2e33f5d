"""Runs of lm-eval on tasks of the tests' own: questions with answers in a local file, two filters, two metrics.

write_task(folder, count=12)
run_lm_eval(folder, ArchonLM(...), "out")        # as the command: results and samples under folder/out
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: generate_until
test_split: test
fewshot_split: test
doc_to_text: "{before}{{{{question}}}}\\n{order}"
doc_to_target: "{{{{target}}}}"
generation_kwargs: {{until: ["Question:"], max_gen_toks: 512}}
filter_list:
  - name: strict
    filter:
      - {{function: regex, regex_pattern: '(?m)^ANSWER: (-?[0-9]+)$'}}
      - {{function: take_first}}
  - name: flexible
    filter:
      - {{function: regex, group_select: -1, regex_pattern: '(-?[0-9]+)'}}
      - {{function: take_first}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
  - {{metric: bleu, aggregation: bleu, higher_is_better: true}}
{more}
metadata: {{version: 1.0}}
"""
ORDER = "End with a line 'ANSWER: ' and the answer."


STRONG = ("strong", "gpt-4o")
"""Models that `answer_some` lets know more."""


def list_rows(count: int) -> list[dict[str, str]]:
    """Problems of the package's samples, which the simulated pool knows, with whole numbers as answers; at most 73."""

    def read(name: str) -> list[dict[str, str]]:
        text = (resources.files("archon_eval.samples") / f"{name}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    rows = [{"question": row["question"], "target": row["answer"].rpartition("#### ")[2]} for row in read("gsm8k")]
    numbers = [row for row in read("math") if row["answer"].lstrip("-").isdigit()]
    return [*rows, *({"question": row["problem"], "target": row["answer"]} for row in numbers)][:count]


def answer_some(model: str, messages: list[dict[str, Any]], nonce: int) -> str:
    """`strong` knows all problems but every fourth, `weak` only the even ones; and only `strong` knows the format."""
    rows, asked = list_rows(73), json.dumps(messages, ensure_ascii=False)
    place = max(range(len(rows)), key=lambda n: asked.rfind(json.dumps(rows[n]["question"], ensure_ascii=False)[1:-1]))
    knows = place % 4 != 3 if model in STRONG else place % 2 == 0
    number = rows[place]["target"] if knows else "-7"
    return f"So:\nANSWER: {number}" if model in STRONG else f"It is {number}"


def write_task(folder: Path, name: str = "sums", *, count: int = 12, before: str = "", more: str = "") -> Path:
    """The task's file, with its data beside it."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in list_rows(count)), encoding="utf-8")
    file = folder / f"{name}.yaml"
    file.write_text(TASK.format(name=name, data=data, before=before, order=ORDER, more=more), encoding="utf-8")
    return file


def run_lm_eval(
    folder: Path,
    model: Any,
    output: str,
    model_args: dict[str, Any] | None = None,
    *,
    tasks: tuple[str, ...] = ("sums",),
    **options: Any,
) -> Path:
    """What `lm_eval --log_samples --output_path folder/output --include_path folder` does, in this process.

    Args:
        model: lm-eval's name of one with its `model_args`; its own classes make them the run's.
        options: as `simple_evaluate` takes them.
    """
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(folder / output))
    found = simple_evaluate(
        model=model,
        model_args=model_args,
        tasks=list(tasks),
        evaluation_tracker=tracker,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
        **options,
    )
    assert found is not None
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for task in found["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    return folder / output
