"""For the reference: functions that are made when their module is imported are told as they are then."""

from __future__ import annotations

import inspect
from typing import Any

import griffe

import postroom

MADE = ("send_letter", "merge")
"""Those with the keywords of a letter: for who only reads the code, they are variables."""


class MadeFunctions(griffe.Extension):
    """Puts functions in the place of the variables that hold them."""

    def on_module(self, *, mod: griffe.Module, **_: Any) -> None:
        """Look at a module, once all of it was read."""
        for name in MADE:
            made = getattr(postroom, name)
            if made.__module__ == mod.path:
                mod.set_member(name, _function(name, made))


def _function(name: str, made: Any) -> griffe.Function:
    told = inspect.signature(made)
    parameters = [
        griffe.Parameter(
            each.name,
            kind=griffe.ParameterKind(each.kind.description),
            annotation=None if each.annotation is each.empty else str(each.annotation),
            default=None if each.default is each.empty else repr(each.default),
        )
        for each in told.parameters.values()
    ]
    returns = told.return_annotation
    return griffe.Function(
        name,
        parameters=griffe.Parameters(*parameters),
        returns=returns if isinstance(returns, str) else returns.__name__,
        docstring=griffe.Docstring(inspect.getdoc(made) or "", parser="google"),
    )
