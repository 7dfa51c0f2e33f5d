"""Solvers and agents that make candidates in tests: an agent, a debate, and all that a solver can do wrong."""

import asyncio

import anyio
from inspect_ai.agent import Agent, agent, react
from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, ModelOutput, execute_tools, get_model
from inspect_ai.solver import Generate, Solver, TaskState, basic_agent, fork, generate, solver
from inspect_ai.tool import Tool, tool
from inspect_ai.util import sandbox, store


@tool
def add() -> Tool:
    async def execute(a: int, b: int) -> str:
        """Adds two numbers.

        Args:
            a: the first.
            b: the second.
        """
        return f"the sum is {a + b}"

    return execute


@agent
def adder(attempts: int = 1) -> Agent:
    """Inspect's agent with a tool."""
    return react(tools=[add()], attempts=attempts)


@solver
def basic() -> Solver:
    """Inspect's older agent with a tool."""
    return basic_agent(tools=[add()], max_messages=12)


@solver
def debate(rounds: int = 1, opponent: str = "") -> Solver:
    """Two models in turn: the one under evaluation, and one by name or by role."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        said, state.metadata["seen"] = "", state.target.text
        for _ in range(rounds):
            for model in (get_model(), get_model(opponent) if opponent else get_model(role="opponent")):
                messages = [*state.messages, *([ChatMessageUser(content=f"Another says: {said}")] if said else [])]
                state.output = await model.generate(messages)
                said = state.output.completion
        return state

    return solve


@solver
def captured() -> Solver:
    """Holds on to a model from before it runs, with settings of its own."""
    held = get_model("openai/gpt-4o", config=GenerateConfig(temperature=0.1))

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        _, state.output = await held.generate_loop(state.messages, config=GenerateConfig(top_p=0.5))
        return state

    return solve


@solver
def repeating(times: int = 3, at_once: bool = False) -> Solver:
    """Asks the same thing several times."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        texts: list[str] = []

        async def ask() -> None:
            texts.append((await get_model().generate("Again?")).completion)

        if at_once:
            async with anyio.create_task_group() as group:
                for _ in range(times):
                    group.start_soon(ask)
        else:
            for _ in range(times):
                await ask()
        state.output = ModelOutput.from_content("own", " | ".join(sorted(texts)))
        return state

    return solve


@solver
def forking() -> Solver:
    """Runs two solvers on copies of the state."""

    async def solve(state: TaskState, _: Generate) -> TaskState:
        return (await fork(state, [generate(), generate(temperature=0.2)]))[1]

    return solve


@solver
def keeping() -> Solver:
    """Leaves its own answer in the sample's store, and says what it found there."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        found = store().get("mine", "nothing")
        state = await generate(state)
        store().set("mine", state.output.completion)
        state.output = ModelOutput.from_content("own", f"found {found}")
        return state

    return solve


@solver
def writing() -> Solver:
    """Writes the model's answer, and what was there before, into the sandbox."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        before = await sandbox().exec(["cat", "given.txt"])
        listed = await sandbox().exec(["ls"])
        state = await generate(state)
        await sandbox().write_file("answer.txt", f"{before.stdout}{state.output.completion} ({listed.stdout.split()})")
        return state

    return solve


@solver
def endless(catches: bool = False, waits: bool = False, answers: bool = True) -> Solver:
    """Never ends by itself."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        while True:
            if waits:
                await anyio.sleep(3600)
            try:
                output = await get_model().generate(state.messages)
                state.messages.append(output.message)
            except Exception:
                if not catches:
                    raise
                continue
            if answers:
                state.output = output

    return solve


@solver
def mute() -> Solver:
    """Asks, and answers nothing."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        await get_model().generate("Hm?")
        return state

    return solve


@solver
def failing(after: int = 1) -> Solver:
    """A fault of its own."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for _ in range(after):
            await generate(state)
        raise ValueError("the plan is empty")

    return solve


@solver
def forgetful() -> Solver:
    """Returns nothing."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        await generate(state)
        return None  # type: ignore[return-value]

    return solve


@solver
def swallowing() -> Solver:
    """Takes any error for a reason to answer without a model."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        for name in ("openai/gpt-4o", "openai/unlisted"):
            try:
                await get_model(name).generate("Hm?")
            except Exception as exc:  # noqa: BLE001 (this is what it is for)
                state.output = ModelOutput.from_content("own", f"went on after {type(exc).__name__}")
        return state

    return solve


@solver
def elsewhere() -> Solver:
    """Reaches a listed model at another address."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model: Model = get_model("openai/gpt-4o", base_url="http://127.0.0.1:9/v1", api_key="key")
        state.output = await model.generate("Hm?")
        return state

    return solve


@solver
def picky() -> Solver:
    """Asks for what no call of an architecture carries."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await generate(state, logprobs=True)

    return solve


@solver
def several() -> Solver:
    """Asks for three choices at once, and runs a model's tool calls by hand."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        output = await get_model().generate(state.messages, config=GenerateConfig(num_choices=3))
        messages, _ = await execute_tools([*state.messages, output.message], [add()])
        texts = {choice.message.text for choice in output.choices}
        state.output = ModelOutput.from_content("own", f"{len(texts)} texts, {len(messages)} messages")
        return state

    return solve


def undecorated() -> None:
    """No solver at all."""


LEFT_BEHIND: list[asyncio.Task[str]] = []


@solver
def leaving() -> Solver:
    """Leaves a task behind, which asks again once another run cancels its wait."""

    async def ask_later() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return (await get_model().generate("And now?")).completion
        return ""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if LEFT_BEHIND:
            task = LEFT_BEHIND.pop()
            task.cancel()
            (said,) = await asyncio.gather(task, return_exceptions=True)
            state.output = ModelOutput.from_content("own", f"left: {said}")
            return state
        LEFT_BEHIND.append(asyncio.create_task(ask_later()))
        return await generate(state)

    return solve
