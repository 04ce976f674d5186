"""Registries: encoders, predictors, metrics and track readers by name.

What comes with the package is listed by the place of its class, so that names are known without
importing anything. Other packages add theirs by an entry point of the registry's group, or by
calling `register`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from simplechrome.errors import ConfigError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind, by name.

    Parameters
    ----------
    kind
        What they are called in messages: `encoder`.
    built_in
        name -> `module:attribute`, imported on first use.
    group
        Of the entry points by which other packages add theirs: `simplechrome.encoders`.
    """

    def __init__(self, kind: str, built_in: Mapping[str, str], group: str) -> None:
        self.kind = kind
        self.group = group
        self._places = dict(built_in)
        self._loaded: dict[str, T] = {}
        self._searched = False

    def register(self, name: str, thing: T) -> T:
        """Add a thing under a name and return it.

        Raises
        ------
        ConfigError
            If the name is taken by something else.
        """
        if name in self._places or self._loaded.get(name, thing) is not thing:
            raise ConfigError(
                f"There is a {self.kind} called {name!r} already.", "choose another name"
            )
        self._loaded[name] = thing
        return thing

    def names(self) -> list[str]:
        """Return all names: those of the package first, in its order."""
        self._search()
        return [*self._places, *(name for name in self._loaded if name not in self._places)]

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def get(self, name: str) -> T:
        """Return what is registered under a name.

        Raises
        ------
        ConfigError
            If nothing is.
        """
        if name not in self.names():
            hint = did_you_mean(name, self.names())
            raise ConfigError(
                f"There is no {self.kind} {name!r}, only {', '.join(self.names())}.",
                hint or f"choose one of these, or register the {self.kind} first",
            )
        if name not in self._loaded:
            module, attribute = self._places[name].split(":")
            self._loaded[name] = getattr(importlib.import_module(module), attribute)
        return self._loaded[name]

    def class_names(self) -> dict[str, str]:
        """Return class name -> name, without importing anything: saved models hold the former."""
        self._search()
        places = {place.split(":")[1]: name for name, place in self._places.items()}
        return places | {
            getattr(thing, "__name__", name): name for name, thing in self._loaded.items()
        }

    def _search(self) -> None:
        """Note the entry points of installed packages, once; names of this package win."""
        if not self._searched:
            self._searched = True
            for point in entry_points(group=self.group):
                self._places.setdefault(point.name, point.value)
