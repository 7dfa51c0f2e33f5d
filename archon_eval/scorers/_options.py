"""Options that several tasks and scorers share, each group written once as a dataclass.

Inspect reads the names and defaults of `-T` and `-S` options from signatures, so the fields of a group become
parameters of their own:

    >>> @spread_options
    ... def rate(options: JudgeOptions, scale: int = 10) -> str:
    ...     return f"{options.judge_cache}, up to {scale}"
    >>> list(signature(rate).parameters)
    ['judge_prompts', 'judge_cache', 'allow_main_model', 'stored', 'scale']
    >>> rate(judge_cache="never", scale=5)
    'never, up to 5'
"""

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from inspect_ai import Task
from inspect_ai.model import GenerateConfig

from archon_eval._deprecated import warn_renamed_option
from archon_eval._inspect_compat import make_prerequisite_error
from archon_eval.errors import DataError, did_you_mean
from archon_eval.scorers._judge import Judge, JudgeCachePolicy

ResultT = TypeVar("ResultT")
MAX_POSITIONAL = 3
"""Parameters that may be given by position; the others are keywords, so that their order can change."""

_KIND_NAMES: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list[str]: "a list of texts",
    list[int]: "a list of whole numbers",
    NoneType: "left out",
}
"""The kinds of options that are checked here; a set of words (`Literal`) is checked by whoever knows the words."""


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """Who judges and how; options of each judged scorer and its task."""

    judge_prompts: str | None = None
    """A file in the benchmark's official format; None is the wording of this package."""
    judge_cache: JudgeCachePolicy = "reuse"
    """Which judgments of a log and which calls of a store are used again, see `JudgeCachePolicy`."""
    allow_main_model: bool = False
    """Let the evaluated model judge itself if no judge is bound."""
    stored: JudgeCachePolicy | None = None
    """The old name of `judge_cache`, accepted in this release."""

    def __post_init__(self) -> None:
        if self.stored is not None:
            if self.judge_cache != "reuse":
                raise DataError("`stored` is the old name of `judge_cache`: give `judge_cache` alone")
            warn_renamed_option("stored", "judge_cache")
            object.__setattr__(self, "judge_cache", self.stored)

    def build_judge(self, benchmark: str, protocol: GenerateConfig) -> Judge:
        """The judge of a benchmark. DataError for an unknown `judge_cache`."""
        return Judge(benchmark, protocol, cache=self.judge_cache, allow_main_model=self.allow_main_model)

    def to_arguments(self) -> dict[str, Any]:
        """The options as keywords of a scorer, under their present names."""
        names = ("judge_prompts", "judge_cache", "allow_main_model")
        return {name: getattr(self, name) for name in names}


def spread_options(function: Callable[..., ResultT]) -> Callable[..., ResultT]:
    """Replace each parameter that is a dataclass of options by the fields of the dataclass.

    The decorator stands below Inspect's `@task` or `@scorer`. It changes `__signature__`, from which Inspect takes the
    options of a task and what a log keeps of them. A task's ends with `**kwargs`: without it Inspect would leave
    unknown options out with a warning, and the task would begin to download what nobody asked for.

    Raises:
        PrerequisiteError: (what is returned) an unknown option, or a value of another kind than its annotation says.
    """
    parameters: list[Parameter] = []
    groups: dict[str, tuple[type, list[str]]] = {}
    for parameter in signature(function).parameters.values():
        group = parameter.annotation
        if isinstance(group, type) and is_dataclass(group):
            fields = list(signature(group).parameters.values())
            groups[parameter.name] = group, [field.name for field in fields]
            parameters += fields
        else:
            parameters.append(parameter)
    kinds = [Parameter.POSITIONAL_OR_KEYWORD] * MAX_POSITIONAL + [Parameter.KEYWORD_ONLY] * len(parameters)
    options = [parameter.replace(kind=kind) for parameter, kind in zip(parameters, kinds, strict=False)]
    if signature(function).return_annotation is Task:
        options.append(Parameter("kwargs", Parameter.VAR_KEYWORD, annotation=Any))
    spread = Signature(options, return_annotation=signature(function).return_annotation)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> ResultT:
        names = [option.name for option in options if option.kind is not Parameter.VAR_KEYWORD]
        if unknown := sorted(kwargs.keys() - set(names)):
            hint = did_you_mean(unknown[0], names)
            raise make_prerequisite_error(f"{function.__name__}: unknown option {unknown[0]!r}{hint}")
        arguments = spread.bind(*args, **kwargs).arguments
        for name, value in arguments.items():
            if not _is_of_kind(value, kind := spread.parameters[name].annotation):
                problem = f"{name} must be {_describe_kind(kind)}, not {value!r}"
                raise make_prerequisite_error(f"{function.__name__}: {problem}")
        for name, (group, fields) in groups.items():
            arguments[name] = group(**{field: arguments.pop(field) for field in fields if field in arguments})
        return function(**arguments)

    call.__signature__ = spread  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in options} | {"return": spread.return_annotation}
    return call


def _split_kinds(annotation: Any) -> tuple[Any, ...]:
    """`str | None` as its two kinds."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_of_kind(value: Any, annotation: Any) -> bool:
    """Whether a value is of the kind that the annotation says; any value, where that is none of `_KIND_NAMES`."""
    kinds = _split_kinds(annotation)
    if not all(kind in _KIND_NAMES for kind in kinds):
        return True
    if isinstance(value, list):
        items = [get_args(kind)[0] for kind in kinds if get_origin(kind) is list]
        return bool(items) and all(type(item) in items for item in value)
    return type(value) in kinds or (type(value) is int and float in kinds)


def _describe_kind(annotation: Any) -> str:
    return " or ".join(_KIND_NAMES[kind] for kind in _split_kinds(annotation))
