"""Go's text/template, as far as injection templates need it: text in, text out.

`render(text, data, functions)`: actions, pipelines, variables, if/else/with/range/define/template/block/break/continue,
trim markers and comments; the functions that the language has (builtins.py) and those that are given. Not here: the
functions that Istio's templates have (functions.py), what a rendered text means.
Source: Go's text/template and text/template/parse.
"""

from mizzen.istiod.inject.gotemplate.evaluate import Functions, render
from mizzen.istiod.inject.gotemplate.lexer import TemplateError
from mizzen.istiod.inject.gotemplate.values import Map, Struct

__all__ = ["Functions", "Map", "Struct", "TemplateError", "render"]
