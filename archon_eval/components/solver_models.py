"""The models that a solver finds: what `get_model()` and `get_model(role=...)` give it, and which name a call is for.

models = SolverModels(spec)
models.activate()                       # in the solver's own task
models.find_name(request.model)         # "openai/gpt-4o", or an error that says what to write
"""

from functools import cached_property
from typing import Any

from inspect_ai.model import GenerateConfig, Model, ModelAPI, ModelOutput, get_model

from archon_eval._inspect_compat import active_model_variable, init_model_roles, set_model_role
from archon_eval.architecture.spec import ComponentSpec
from archon_eval.errors import ArchitectureError
from archon_eval.models.conversion import describe_endpoint

NO_MODEL = "none/none"
"""Inspect's name of no model."""


class SolverModels:
    """Of one run of a solver."""

    def __init__(self, spec: ComponentSpec) -> None:
        self._spec = spec

    def activate(self) -> None:
        """Have `get_model()` find the component's model in the current task, and roles its roles."""
        handles = self._handles
        active_model_variable.set(handles[""])
        init_model_roles({role: found for role, found in handles.items() if role})

    @cached_property
    def _handles(self) -> dict[str, Any]:
        """By role, and the model that is active under no role: models of their own, so that the settings of the eval's
        model and of other solvers stay theirs."""
        handles: dict[str, Any] = {"": _make_handle(self._spec.model or NO_MODEL)}
        for role, names in self._spec.get_option("roles").items():
            several = [_make_handle(name, role) for name in ((names,) if isinstance(names, str) else names)]
            handles[role] = several[0] if isinstance(names, str) else several
        return handles

    def find_name(self, model: Model) -> str:
        """The name under which the architecture lists a model that a solver calls.

        Raises:
            ArchitectureError: it lists none such, or one that is reached otherwise; says what to write.
        """
        name, listed = str(model), self._spec.models
        if name in listed:
            if not isinstance(model, _Handle):
                _check_endpoint(name, model)
            return name
        role = f" (role {model.role!r})" if model.role else ""
        known = ", ".join(listed) or "none"
        if model is self._handles[""] or name == NO_MODEL:
            raise ArchitectureError(
                "it asks for the model under evaluation, `get_model()`, and the component has none: write `model: ...`"
            )
        raise ArchitectureError(
            f"it calls {name}{role}, which the component does not list ({known}): "
            "add it to `models: [...]`, or to `roles: {...}` under the name of its role"
        )


class _Handle(Model):
    """A model that a solver is given, under the name that the architecture gives it."""

    listed_name: str

    def __str__(self) -> str:
        return self.listed_name


class _UnknownAPI(ModelAPI):
    """In place of a provider that cannot be used here: a replay calls none, and needs no key."""

    async def generate(self, *args: Any, **kwargs: Any) -> ModelOutput:
        raise ArchitectureError("a replay calls no model")


def _make_handle(name: str, role: str = "") -> _Handle:
    try:
        api: ModelAPI = get_model(name).api
    except Exception:  # noqa: BLE001 (the stack looks up its models itself, unless it only replays)
        api = _UnknownAPI(name.partition("/")[2] or name)
    handle = _Handle(api, GenerateConfig())
    handle.listed_name = name
    if role:
        set_model_role(handle, role)
    return handle


def _check_endpoint(name: str, model: Model) -> None:
    """Refuse a model that is reached otherwise than the architecture's of the same name."""
    try:
        ours = describe_endpoint(name, get_model(name))
    except Exception:  # noqa: BLE001 (in a replay the models are not looked up)
        return
    if (theirs := describe_endpoint(name, model)) != ours:
        raise ArchitectureError(
            f"it calls {theirs}, and the architecture's model of this name is {ours}: "
            "give the solver the architecture's, `get_model()` or `get_model(role=...)`"
        )
