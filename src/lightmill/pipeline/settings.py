"""Settings: which value each parameter takes, who set it, and who was overruled.

A settings tree holds, for a pipeline and each of its steps, every value anyone
gave a parameter, weakest first. Nothing is lost by merging, so that
`Settings.explain` can tell the story of each value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lightmill.errors import ConfigurationError, LightmillError, UnknownNameError, suggestion
from lightmill.pipeline.parameters import Declaration, accepted, convert

__all__ = [
    "DEFAULT",
    "Setting",
    "Settings",
    "is_users_own",
    "merge",
    "resolve",
    "unknown_parameter",
]

DEFAULT = "default"  # origin of a value nobody set


@dataclass(frozen=True)
class Setting:
    """A value, and who gave it.

    Attributes
    ----------
    value : object
        As given, or as converted once resolved.
    origin : str
        ``default``, ``file F``, ``command line``, ``python`` …
    trusted : bool
        Whether the user said it, in their own words: only then may it be a shell command.
    """

    value: Any
    origin: str = DEFAULT
    trusted: bool = False


class Settings:
    """Values for a pipeline (or one step) and, by name, for its steps.

    Parameters
    ----------
    own : mapping of str to list of Setting, optional
        Values given to each parameter, the strongest last: the attribute `history`.
    steps : mapping of str to Settings, optional
        The same for each step: the attribute `steps`.
    """

    def __init__(
        self,
        own: Mapping[str, list[Setting]] | None = None,
        steps: Mapping[str, Settings] | None = None,
    ) -> None:
        self.history = {name: list(settings) for name, settings in (own or {}).items()}
        self.steps = dict(steps or {})

    @classmethod
    def of(cls, tree: Mapping[str, Any], origin: str, *, trusted: bool = False) -> Settings:
        """Return the settings one source gives.

        Parameters
        ----------
        tree : mapping
            Parameter → value; a key ``steps`` holds step → mapping. Dotted keys such as
            ``steps.jump.rejection_threshold`` mean the same.
        origin : str
            The source, for people.
        trusted : bool
            Whether the source is the user's own (see `Setting`).

        Returns
        -------
        settings : Settings
            One layer, to be merged with others.
        """
        made = cls()
        for key, value in tree.items():
            if key == "steps" and isinstance(value, Mapping):
                for step, values in value.items():
                    made._add_step(step, values, origin, trusted=trusted)
                continue
            *path, name = key.split(".")
            made._at(path, key).history.setdefault(name, []).append(Setting(value, origin, trusted))
        return made

    def _add_step(self, step: str, values: Any, origin: str, *, trusted: bool) -> None:
        if not isinstance(values, Mapping):
            raise ConfigurationError(
                "a step's parameters are not a mapping",
                place=f"{origin}: steps.{step}",
                found=values,
                expected="name: value, …",
            )
        child = self.steps.setdefault(step, Settings())
        self.steps[step] = merge(child, Settings.of(values, origin, trusted=trusted))

    def _at(self, path: list[str], key: str) -> Settings:
        node = self
        while path:
            if path[0] != "steps" or len(path) < 2:
                raise ConfigurationError(
                    "the name of a parameter cannot be understood",
                    place=key,
                    found=key,
                    expected="PARAMETER or steps.STEP.PARAMETER",
                    remedy=f"write steps.{key}" if path[0] != "steps" else None,
                )
            node = node.steps.setdefault(path[1], Settings())
            path = path[2:]
        return node

    def __getitem__(self, name: str) -> Setting:
        return self.history[name][-1]

    def __contains__(self, name: object) -> bool:
        return name in self.history

    def __iter__(self) -> Iterator[str]:
        return iter(self.history)

    def __len__(self) -> int:
        return len(self.history) + sum(len(step) for step in self.steps.values())

    def __repr__(self) -> str:
        return f"Settings({self.as_dict()!r})"

    def value(self, name: str, default: Any = None) -> Any:
        """Return the value of one parameter of one's own, or `default`."""
        return self[name].value if name in self else default

    def values(self) -> dict[str, Any]:
        """Return every parameter of one's own and its value."""
        return {name: self[name].value for name in self}

    def step(self, name: str) -> Settings:
        """Return the settings of one step; empty where nobody set anything."""
        return self.steps.get(name) or Settings()

    def with_value(self, name: str, value: Any, origin: str, *, trusted: bool = False) -> Settings:
        """Return settings where one more, strongest, value is given."""
        return merge(self, Settings.of({name: value}, origin, trusted=trusted))

    def explain(self, step: str | None, parameter: str) -> list[Setting]:
        """Return who set a parameter, strongest first: the first one counts.

        Parameters
        ----------
        step : str or None
            Name of a step (``outer.inner`` for a pipeline in a pipeline); None: the
            pipeline itself.
        parameter : str
            Name of the parameter.

        Returns
        -------
        settings : list of Setting
            Empty where nobody set it.
        """
        node = self
        for name in step.split(".") if step else ():
            node = node.step(name)
        return node.history.get(parameter, [])[::-1]

    def flat(self) -> dict[str, Setting]:
        """Return ``steps.jump.rejection_threshold`` → the setting that counts, for all."""
        found = {name: self[name] for name in self}
        for step, settings in self.steps.items():
            found.update({f"steps.{step}.{k}": s for k, s in settings.flat().items()})
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the values that count, as nested dictionaries."""
        tree: dict[str, Any] = self.values()
        if self.steps:
            tree["steps"] = {name: settings.as_dict() for name, settings in self.steps.items()}
        return tree


def is_users_own(origin: str) -> bool:
    """Say whether an origin is the user's own words: Python, command line or their file."""
    return origin in {"python", "command line"} or origin.startswith("file ")


def merge(*layers: Settings) -> Settings:
    """Return settings where each layer overrules those before it; the strongest comes last.

    Parameters
    ----------
    *layers : Settings
        Usually: defaults, the observatory's parameters, a parameter file, the command line.

    Returns
    -------
    settings : Settings
        A new tree; the layers stay as they are.
    """
    own: dict[str, list[Setting]] = {}
    steps: dict[str, Settings] = {}
    for layer in layers:
        for name, settings in layer.history.items():
            own.setdefault(name, []).extend(settings)
        for name, step in layer.steps.items():
            steps[name] = merge(steps[name], step) if name in steps else merge(step)
    return Settings(own, steps)


def resolve(
    step_class: Any,
    settings: Settings,
    *,
    name: str | None = None,
    declarations: tuple[Declaration, ...] | None = None,
) -> dict[str, Setting]:
    """Return every parameter a step takes with its converted value and who set it.

    Parameters
    ----------
    step_class : type
        The step.
    settings : Settings
        What was set for it; settings of sub-steps are not looked at.
    name : str, optional
        What the step is called, for errors; its class's name by default.
    declarations : tuple of Declaration, optional
        What to resolve instead of all the class accepts.

    Returns
    -------
    settings : dict of str to Setting
        In the order declared; what nobody set has its default.

    Raises
    ------
    UnknownNameError, ConfigurationError
        The place names the step, the parameter and who set it.
    """
    step = name or getattr(step_class, "name", "") or str(step_class)
    wanted = accepted(step_class) if declarations is None else declarations
    known = {declaration.name for declaration in wanted}
    for given in settings:
        if given not in known:
            place = f"{step} ({settings[given].origin})"
            raise UnknownNameError("parameter", given, known, place=place)
    resolved = {}
    for declaration in wanted:
        if declaration.name not in settings:
            resolved[declaration.name] = Setting(declaration.new_default())
            continue
        setting = settings[declaration.name]
        place = f"{step}.{declaration.name} ({setting.origin})"
        value = convert(declaration, setting.value, place)
        resolved[declaration.name] = Setting(value, setting.origin, setting.trusted)
    return resolved


def unknown_parameter(
    name: str, own: list[str], steps: Mapping[str, list[str]], *, place: str
) -> LightmillError:
    """Return the error for a name a pipeline does not know, pointing into its steps.

    Parameters
    ----------
    name : str
        What was asked for.
    own : list of str
        The pipeline's own parameters.
    steps : mapping
        Step → names of its parameters.
    place : str
        The pipeline, and who asked.

    Returns
    -------
    error : LightmillError
        To be raised.
    """
    error = UnknownNameError("parameter", name, own, place=place)
    homes = [f"steps.{step}.{name}" for step, names in steps.items() if name in names]
    if homes:
        error.remedy = "did you mean " + " or ".join(homes[:4]) + "?"
    elif error.remedy is None:
        every = [f"steps.{step}.{known}" for step, names in steps.items() for known in names]
        error.remedy = suggestion(f"steps.{name}", every)
    error.args = (error.story(),)
    return error
