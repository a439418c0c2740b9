"""The Common Expression Language with Kubernetes' libraries: parser, static checks, evaluator."""

from __future__ import annotations

from .check import CompileError, Program, compile_expression
from .values import EvaluationError

__all__ = ["CompileError", "EvaluationError", "Program", "compile_expression"]
