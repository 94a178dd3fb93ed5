"""Hooks: what users call before and after steps, on errors and when products are saved.

A hook is one of

- a callable ``hook(model)``; where it has a parameter ``context`` it also gets a `Context`;
- a step, or a step class;
- text: the name of a step, ``package.module:function``, ``package.module.function``, a
  dotted step class, also with literal arguments: ``package.Class(limit=3)``;
- a shell command: text that starts with ``!``, holds white space (outside the parentheses
  of a class) or a ``/``, or is a plain word naming a program on the PATH. A dotted or
  coloned name is never a command, so a misspelled one is an error and nothing runs.

``pre_hooks`` get the model, ``post_hooks`` and ``every_step`` the result; what they return
takes its place, unless it is None. ``on_save`` gets the model saved, ``on_error`` the error;
what they return is not used.

Commands run only where the user asked for them: a hook that came with data is refused.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import HookError, LightmillError, suggestion
from lightmill.pipeline.settings import is_users_own

if TYPE_CHECKING:
    from lightmill.pipeline.step import Step

__all__ = ["Context", "call", "describe", "find", "is_command"]

log = logging.getLogger("lightmill.hooks")

_DOTTED = re.compile(r"[A-Za-z_]\w*([.:][A-Za-z_]\w*)+$")
_WITH_ARGUMENTS = re.compile(r"(?P<name>[A-Za-z_][\w.:]*)\((?P<arguments>.*)\)$", re.DOTALL)
_REPLACING = frozenset({"pre_hooks", "post_hooks", "every_step"})


@dataclass(frozen=True)
class Context:
    """Where a hook is called.

    Attributes
    ----------
    kind : str
        ``pre_hooks``, ``post_hooks``, ``every_step``, ``on_error`` or ``on_save``.
    step : Step or None
        The step it belongs to.
    path : Path or None
        The product just saved, for ``on_save``.
    """

    kind: str
    step: Step | None = None
    path: Path | None = None

    @property
    def place(self) -> str:
        """The place as errors name it, for instance ``jump.post_hooks``."""
        name = getattr(self.step, "name", "") or "pipeline"
        return f"{name}.{self.kind}"


def call(
    hook: Any,
    subject: Any,
    *,
    step: Step | None = None,
    kind: str = "post_hooks",
    path: Path | None = None,
    trusted: bool | None = None,
    timeout: float | None = None,
) -> Any:
    """Call one hook.

    Parameters
    ----------
    hook : object
        See the module.
    subject : Model, Products or LightmillError
        What it is called with.
    step : Step, optional
        The step it belongs to.
    kind : str
        Where it is called (see `Context`).
    path : Path, optional
        The product just saved.
    trusted : bool, optional
        Whether it may be a shell command; by default, whether the step's settings of this
        kind are the user's own.
    timeout : float, optional
        Longest time a command may take [s]; by default the step's ``hook_timeout``.

    Returns
    -------
    result : object
        What takes the subject's place; the subject itself where the hook returned None.

    Raises
    ------
    HookError
        The hook does not exist, may not run, or failed.
    """
    context = Context(kind, step, path)
    options = getattr(step, "options", {})
    if trusted is None:
        origins = getattr(step, "origins", {})
        trusted = is_users_own(origins.get(kind, "python"))
    if timeout is None:
        timeout = options.get("hook_timeout") if hasattr(options, "get") else None
    ready = find(hook, place=context.place, trusted=trusted)
    log.info("%s: calling %s", context.place, describe(hook, with_code=False))
    if kind not in _REPLACING:
        _run(ready, hook, subject, context, timeout)
        return subject
    result = _run(ready, hook, subject, context, timeout)
    if result is None:
        return subject
    if not (hasattr(result, "meta") or isinstance(result, dict)):
        raise HookError(
            f"the hook {describe(hook, with_code=False)} returned something that is not a model",
            place=context.place,
            found=type(result).__name__,
            expected="a model, or None to leave the data as they are",
        )
    return _in_place(result, subject)


def _in_place(result: Any, subject: Any) -> Any:
    """Return products with one model in place of the one of its class, or the result itself."""
    if isinstance(subject, dict) and not isinstance(result, dict):
        for suffix, model in subject.items():
            if type(model) is type(result):
                return type(subject)({**subject, suffix: result})
    return result


def _run(ready: Any, hook: Any, subject: Any, context: Context, timeout: float | None) -> Any:
    try:
        if isinstance(ready, str):
            from lightmill.pipeline.commands import run_command

            return run_command(ready, subject, context, timeout=timeout)
        return ready(subject, context=context) if _wants_context(ready) else ready(subject)
    except LightmillError:
        raise
    except Exception as error:  # whatever a user's function raises is the hook's failure
        raise HookError(
            f"the hook {describe(hook, with_code=False)} failed",
            place=context.place,
            found=f"{type(error).__name__}: {error}",
            remedy=_where(error),
        ) from error


def _where(error: BaseException) -> str | None:
    frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
    return f"look at {frames[-1].filename}, line {frames[-1].lineno}" if frames else None


def find(hook: Any, *, place: str = "hook", trusted: bool = False) -> Callable[..., Any] | str:
    """Return what to call: a callable, or the text of a shell command.

    Parameters
    ----------
    hook : object
        See the module.
    place : str
        For errors.
    trusted : bool
        Whether it may be a shell command.

    Returns
    -------
    ready : callable or str
        A callable that takes the subject, or a command.

    Raises
    ------
    HookError
        No such thing, or a command that did not come from the user.
    """
    if not isinstance(hook, str):
        return _callable(hook, place)
    text = hook.strip()
    if not is_command(text):
        return _callable(_named(text, place), place)
    if not trusted:
        raise HookError(
            "a command is not run because it did not come from you",
            place=place,
            found=text,
            expected="commands on the command line, in Python, or in your own parameter file",
            remedy="give it on the command line, if you want it to run",
        )
    return text.removeprefix("!").strip()


def is_command(text: str) -> bool:
    """Say whether the text of a hook is a shell command (see the module for the rule)."""
    text = text.strip()
    if text.startswith("!"):
        return True
    if _WITH_ARGUMENTS.match(text) or _DOTTED.match(text):
        return False
    if re.search(r"[\s/]", text):
        return True
    import shutil

    return text not in _step_names() and shutil.which(text) is not None


def describe(hook: Any, *, with_code: bool = True) -> str:
    """Return a name of a hook that is the same in every process.

    Parameters
    ----------
    hook : object
        See the module.
    with_code : bool
        Make the code of a function that cannot be imported by its name (one typed in a
        session, a lambda) part of the name, so that a changed function has another one.

    Returns
    -------
    name : str
        Without addresses in memory.
    """
    if isinstance(hook, str):
        return hook
    if isinstance(hook, type):
        return f"{hook.__module__}:{hook.__qualname__}"
    if hasattr(hook, "parameters") and hasattr(hook, "apply"):
        return f"{type(hook).__module__}:{type(hook).__qualname__}({hook.parameters})"
    module = getattr(hook, "__module__", type(hook).__module__)
    name = getattr(hook, "__qualname__", type(hook).__qualname__)
    code = getattr(hook, "__code__", None)
    if with_code and code is not None and (module == "__main__" or "<" in name):
        import hashlib

        held = [hook.__defaults__, hook.__kwdefaults__]
        held += [cell.cell_contents for cell in hook.__closure__ or ()]
        text = repr([_code_text(code), [_value_text(value) for value in held]])
        return f"{module}:{name}#{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return f"{module}:{name}"


def _code_text(code: Any) -> list[str]:
    """Return what a function's code does, functions within it included."""
    constants = [_code_text(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), repr(code.co_names), repr(constants)]


def _value_text(value: Any) -> str:
    """Return a value a function holds as text; without an address in memory."""
    text = repr(value)
    return text if " at 0x" not in text else type(value).__qualname__


def _step_names() -> Iterable[str]:
    from lightmill.pipeline.step import known_steps

    return known_steps()


def _callable(hook: Any, place: str) -> Callable[..., Any]:
    if isinstance(hook, type) and hasattr(hook, "apply"):
        hook = hook()
    if hasattr(hook, "apply") and hasattr(hook, "run"):
        return lambda model: hook.run(model).model
    if callable(hook):
        return hook
    raise HookError(
        "this cannot be called",
        place=place,
        found=hook,
        expected="a function, a step, the name of one, or a command",
    )


def _wants_context(function: Any) -> bool:
    try:
        return "context" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _named(text: str, place: str) -> Any:
    from lightmill.pipeline.step import known_steps

    arguments: dict[str, Any] = {}
    match = _WITH_ARGUMENTS.match(text)
    if match:
        text, arguments = match["name"], _literals(match["arguments"], text, place)
    steps = known_steps()
    if text in steps:
        found: Any = steps[text]
    elif _DOTTED.match(text):
        found = _imported(text, place)
    else:
        raise HookError(
            f"there is no step and no program called {text!r}",
            place=place,
            found=text,
            expected="package.module:function, a step, or a command (starting with !)",
            remedy=suggestion(text, steps),
        )
    return found(**arguments) if match else found


def _literals(text: str, hook: str, place: str) -> dict[str, Any]:
    import ast

    try:
        expression = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(expression, ast.Call)
        assert not expression.args
        return {str(k.arg): ast.literal_eval(k.value) for k in expression.keywords}
    except (SyntaxError, ValueError, AssertionError) as error:
        raise HookError(
            "the arguments of the hook cannot be read",
            place=place,
            found=hook,
            expected="Class(name=literal, …)",
        ) from error


def _imported(text: str, place: str) -> Any:
    """Import ``module:name`` or ``module.name``, or say which part does not exist."""
    module_name, _, attribute = text.partition(":") if ":" in text else text.rpartition(".")
    module = _module(module_name, text, place)
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name in vars(found) if not name.startswith("_")]
            raise HookError(
                f"{module_name} has no {part!r}",
                place=place,
                found=text,
                remedy=suggestion(part, names),
            )
        found = getattr(found, part)
    return found


def _module(name: str, text: str, place: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if not (name == missing or name.startswith(f"{missing}.")):
            raise HookError(  # the module exists; what it imports does not
                f"the module {name} cannot be imported", place=place, found=str(error)
            ) from error
        outer, _, last = name.rpartition(".")
        if outer and ":" not in text and missing == name:  # package.Class.method
            return _imported(name, place)
        raise HookError(
            f"there is no module {missing!r}",
            place=place,
            found=text,
            expected="package.module:function",
            remedy=suggestion(missing.rpartition(".")[2] or last, _neighbours(missing)),
        ) from error
    except Exception as error:
        raise HookError(
            f"the module {name} cannot be imported",
            place=place,
            found=f"{type(error).__name__}: {error}",
        ) from error


def _neighbours(name: str) -> list[str]:
    """Return the modules that stand where a missing one was looked for."""
    import pkgutil
    import sys

    outer = name.rpartition(".")[0]
    path = getattr(sys.modules.get(outer), "__path__", None) if outer else None
    if outer and path is None:
        return []
    return [module.name for module in pkgutil.iter_modules(path)]
