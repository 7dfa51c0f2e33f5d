"""Tasks with a solver of their own, as a file that Inspect loads: `rich` has prompts all over, `bare` has none.

write_tasks(tmp_path)      # rich_tasks.py there
"""

from pathlib import Path

SYSTEM = "Answer as a pirate."

SOURCE = """
from inspect_ai import Task, task
from inspect_ai.agent import react
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser
from inspect_ai.scorer import choice, includes
from inspect_ai.solver import (
    chain, chain_of_thought, generate, multiple_choice, prompt_template, solver, system_message, use_tools
)
from inspect_ai.tool import think

@solver
def mine():
    async def solve(state, generate):
        return await generate(state)
    return solve

SOLVERS = {
    "default": None,
    "generate": generate(),
    "hot": generate(temperature=1.5),
    "listed": [generate()],
    "twice": [generate(), generate()],
    "choices": multiple_choice(),
    "cot": multiple_choice(cot=True),
    "template": multiple_choice(template="{question} {choices} {letters}"),
    "system": [system_message("Be brief."), generate()],
    "nested": chain(chain_of_thought(), chain(generate())),
    "tools": [use_tools(think()), generate()],
    "agent": react(tools=[think()]),
    "own": mine(),
}

@task
def rich(system="%(system)s", example="Is 1 even?", number=2):
    shots = [ChatMessageUser(content=example), ChatMessageAssistant(content="ANSWER: B")] if example else []
    samples = [
        Sample(
            input=[*shots, ChatMessageUser(content=f"Which is {n} and {n}?")],
            choices=[str(2 * n), str(2 * n + 1)], target="A", id=f"q{n:02}",
        )
        for n in range(number)
    ]
    before = [system_message(system)] if system else []
    asked = multiple_choice(template="Of {letters}: {question}\\n{choices}")
    steps = [*before, prompt_template("In short: {prompt}"), asked]
    return Task(dataset=samples, solver=steps, scorer=choice())

@task
def kind(name: str, setup: str = ""):
    solver = {} if SOLVERS[name] is None else {"solver": SOLVERS[name]}
    more = {"setup": SOLVERS[setup][0]} if setup else {}
    samples = [Sample(input=f"Which, {n}?", choices=["1", "2"], target="A", id=n) for n in range(2)]
    return Task(dataset=samples, scorer=choice(), **solver, **more)

@task
def bare(text="1+1"):
    return Task(dataset=[Sample(input=text, target="2", id=n) for n in range(2)], scorer=includes())
"""


def write_tasks(folder: Path) -> None:
    """Write the file `rich_tasks.py`."""
    (folder / "rich_tasks.py").write_text(SOURCE % {"system": SYSTEM})


def build_messages(number: int) -> list[dict[str, str]]:
    """What `rich` sends for its question, as OpenAI's API has it."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "Is 1 even?"},
        {"role": "assistant", "content": "ANSWER: B"},
        {
            "role": "user",
            "content": f"Of A,B: In short: Which is {number} and {number}?\nA) {2 * number}\nB) {2 * number + 1}",
        },
    ]
