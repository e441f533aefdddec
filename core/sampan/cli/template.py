"""The part of Go's text/template that people use in ``--format`` (https://pkg.go.dev/text/template).

Fields, variables, pipelines, ``if``, ``range``, ``with``, trimming, Docker's functions (``json``, ``join``…).
Data are what JSON gives; a mapping's value that can be called is a method (``{{.Label "x"}}``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sampan.cli.failures import Failure
from sampan.cli.template_functions import FUNCTIONS, shown

ACTION = re.compile(r"(\s*\{\{- |\{\{)(.*?)( -\}\}\s*|\}\})", re.DOTALL)
TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<sign>:=|=|[|(),])"""
    r"""|(?P<field>(?:\.[A-Za-z_]\w*)+)|(?P<dot>\.)|(?P<variable>\$\w*)|(?P<word>[A-Za-z_]\w*))"""
)

Token = tuple[str, str]
Run = Callable[["Scope"], Any]


class Scope:
    """``.``, the variables, and what was printed so far."""

    def __init__(self, dot: Any, variables: dict[str, Any], out: list[str]) -> None:
        self.dot = dot
        self.variables = variables
        self.out = out

    def inner(self, dot: Any) -> Scope:
        return Scope(dot, dict(self.variables), self.out)


def wrong(why: str) -> Failure:
    return Failure(f"the format cannot be used: {why}", 64)


class Template:
    """A parsed template. Raises Failure for what it cannot understand."""

    def __init__(self, text: str) -> None:
        self._actions = list(_split(text))
        self._body, ended = self._block()
        if ended:
            raise wrong(f"{{{{{ended}}}}} without a beginning")

    def execute(self, data: Any) -> str:
        out: list[str] = []
        self._body(Scope(data, {"$": data}, out))
        return "".join(out)

    def _block(self) -> tuple[Run, str]:
        """The statements up to ``end`` or ``else``, and which of these it was (``""``: the end of the text)."""
        steps: list[Run] = []
        while self._actions:
            kind, text = self._actions.pop(0)
            if kind == "text":
                steps.append(_writer(text))
                continue
            word = text.split(None, 1)[0] if text.split() else ""
            if word in ("end", "else"):
                return _sequence(steps), text
            steps.append(self._statement(word, text[len(word) :] if word in ("if", "range", "with") else text))
        return _sequence(steps), ""

    def _statement(self, word: str, text: str) -> Run:
        if word in ("if", "with"):
            return self._choice(word, text)
        if word == "range":
            return self._range(text)
        parser = Parser(text)
        name = parser.assigned()
        value = parser.whole()

        def run(scope: Scope) -> None:
            result = value(scope)
            if name:
                scope.variables[name[0]] = result
            else:
                scope.out.append(shown(result))

        return run

    def _branches(self) -> tuple[Run, Run]:
        """The body of an action and of its else."""
        body, ended = self._block()
        otherwise: Run = _sequence([])
        if ended.startswith("else"):
            _, _, more = ended.partition(" ")
            if more.split()[:1] == ["if"]:
                return body, self._choice("if", more.strip()[2:])
            otherwise, ended = self._block()
        if ended != "end":
            raise wrong("an {{end}} is missing")
        return body, otherwise

    def _choice(self, word: str, text: str) -> Run:
        parser = Parser(text)
        name = parser.assigned()
        condition = parser.whole()
        body, otherwise = self._branches()

        def run(scope: Scope) -> None:
            value = condition(scope)
            inner = scope.inner(value if word == "with" and value else scope.dot)
            if name:
                inner.variables[name[0]] = value
            (body if value else otherwise)(inner)

        return run

    def _range(self, text: str) -> Run:
        parser = Parser(text)
        names = parser.assigned()
        over = parser.whole()
        body, otherwise = self._branches()

        def run(scope: Scope) -> None:
            value = over(scope)
            for key, item in _items(value):
                inner = scope.inner(item)
                inner.variables.update(zip(names, (key, item)[-len(names) :] if names else (), strict=False))
                body(inner)
            if not value:
                otherwise(scope)

        return run


class Parser:
    """Reads the inside of one action."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))

    def assigned(self) -> list[str]:
        """The variables before ``:=``, taken."""
        signs = [value for _, value in self._tokens]
        for sign in (":=", "="):
            if sign in signs and self._tokens[0][0] == "variable":
                at = signs.index(sign)
                names = [value for kind, value in self._tokens[:at] if kind == "variable"]
                del self._tokens[: at + 1]
                return names
        return []

    def whole(self) -> Run:
        run = self._pipeline()
        if self._tokens:
            raise wrong(f"{self._tokens[0][1]} was not expected there")
        return run

    def _pipeline(self) -> Run:
        run = self._call(None)
        while self._tokens and self._tokens[0][1] == "|":
            self._tokens.pop(0)
            run = self._call(run)
        return run

    def _call(self, piped: Run | None) -> Run:
        """Words up to a ``|`` or ``)``: a function or a method with its arguments, or one value."""
        operands: list[Run] = []
        function: Callable[..., Any] | None = None
        while self._tokens and self._tokens[0] not in (("sign", "|"), ("sign", ")")):
            kind, value = self._tokens.pop(0)
            if kind == "word" and value not in ("true", "false", "nil"):
                if value not in FUNCTIONS:
                    raise wrong(f'function "{value}" is not defined')
                if not operands and function is None:
                    function = FUNCTIONS[value]
                    continue
                operands.append(lambda scope, called=FUNCTIONS[value]: called())  # type: ignore[misc]
                continue
            operands.append(self._operand(kind, value))
        if piped is not None:
            operands.append(piped)
        if function is not None:
            called = function
            return lambda scope: _apply(called, [operand(scope) for operand in operands])
        if not operands:
            raise wrong("an action is empty")
        first, *others = operands
        return lambda scope: _method(first(scope), [other(scope) for other in others])

    def _operand(self, kind: str, value: str) -> Run:
        if kind == "string":
            text = value[1:-1] if value[0] == "`" else _unescaped(value[1:-1])
            return lambda scope: text
        if kind == "number":
            number = float(value) if "." in value else int(value)
            return lambda scope: number
        if kind == "word":
            constant = {"true": True, "false": False, "nil": None}[value]
            return lambda scope: constant
        if kind == "dot":
            return lambda scope: scope.dot
        if kind == "field":
            return lambda scope: _walk(scope.dot, value)
        if kind == "variable":
            return self._fields(lambda scope: _variable(scope, value))
        if value == "(":
            run = self._pipeline()
            if not self._tokens or self._tokens.pop(0)[1] != ")":
                raise wrong("a ) is missing")
            return self._fields(run)
        raise wrong(f"{value} was not expected there")

    def _fields(self, run: Run) -> Run:
        """Fields that follow a variable or a parenthesis."""
        if self._tokens and self._tokens[0][0] == "chain":
            path = self._tokens.pop(0)[1]
            return lambda scope: _walk(run(scope), path)
        return run


def _split(text: str) -> Iterator[Token]:
    at = 0
    for found in ACTION.finditer(text):
        if found.start() > at:
            yield "text", text[at : found.start()]
        if not found[2].strip().startswith("/*"):
            yield "action", found[2].strip()
        at = found.end()
    if "{{" in text[at:]:
        raise wrong("a }} is missing")
    if at < len(text):
        yield "text", text[at:]


def _tokens(text: str) -> Iterator[Token]:
    at, text, before = 0, text.rstrip(), ""
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise wrong(f"{text[at:].strip()} is not understood")
        kind = found.lastgroup
        # `$x.Field` is one operand, `f .Field` and `(.Field` are not.
        chained = kind == "field" and at == found.start(kind) and (before == ")" or before.startswith("$"))
        yield "chain" if chained else kind, found[kind]
        at, before = found.end(), found[kind]


def _writer(text: str) -> Run:
    return lambda scope: scope.out.append(text)


def _sequence(steps: Sequence[Run]) -> Run:
    def run(scope: Scope) -> None:
        for step in steps:
            step(scope)

    return run


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from sorted(value.items())
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)
    elif value is not None:
        raise wrong(f"range cannot go over {shown(value)}")


def _variable(scope: Scope, name: str) -> Any:
    if name not in scope.variables:
        raise wrong(f"variable {name} is not defined")
    return scope.variables[name]


def _walk(value: Any, path: str) -> Any:
    for name in path[1:].split("."):
        if isinstance(value, Mapping):
            if name not in value:
                raise wrong(f"there is no {name} in {path}")
            value = value[name]
        else:
            raise wrong(f"{shown(value)} has no field {name}")
    return value


def _method(value: Any, arguments: list[Any]) -> Any:
    if callable(value):
        return _apply(value, arguments)
    if arguments:
        raise wrong(f"{shown(value)} takes no arguments")
    return value


def _apply(function: Callable[..., Any], arguments: list[Any]) -> Any:
    try:
        return function(*arguments)
    except (TypeError, ValueError, AttributeError, IndexError) as why:
        raise wrong(str(why)) from None


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t", "r": "\r"}.get(m[1], m[1]), text)
