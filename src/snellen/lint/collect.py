"""One walk over a syntax tree: calls, assignments, handlers and imports as plain facts.

Python's own `ast` is about twenty times as fast as a tree that keeps all whitespace; edits are spans of text, so that
nothing of that whitespace is needed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from snellen.core.source import UNKNOWN, Argument, Assignment, CallSite, Loop, Origin
from snellen.lint.names import KEEPING_FUNCTIONS, KEEPING_METHODS, MODULE_METHODS, SIGNS
from snellen.lint.scopes import Binding, Knowledge, Scope
from snellen.lint.text import SourceText
from snellen.lint.values import qualified_name, value_of

__all__ = ["Collector"]


class Collector(ast.NodeVisitor):
    """Walks once; run it twice, so that the second walk knows what functions return and attributes hold."""

    def __init__(
        self, text: SourceText, imports: dict[str, str], known: Knowledge, others: Mapping[str, Origin]
    ) -> None:
        self.text, self.imports, self.known, self.others = text, imports, known, others
        self.found = Knowledge()
        self._roots = {name.partition(".")[0] for name in imports.values()}
        self.calls: list[CallSite] = []
        self.assignments: list[Assignment] = []
        self.loops: list[Loop] = []
        self._scopes = [Scope()]
        self._path: list[str] = []
        self._classes: list[str] = []
        self._contexts: list[str] = []
        self._conditions: list[str] = []
        self._loops = [0]
        self._sites: dict[int, CallSite] = {}
        self._targets: dict[int, str] = {}
        self._discarded: set[int] = set()

    def generic_visit(self, node: ast.AST) -> None:
        """As the base class does, without the nodes that hold nothing: operators and contexts."""
        for name in node._fields:
            value = getattr(node, name, None)
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.AST) and child._fields:
                    self.visit(child)

    def visit_Module(self, node: ast.Module) -> None:
        """The names of the module are those that its functions find when they are called."""
        self.generic_visit(node)
        self.found.names = self._scopes[0].bindings

    def visit_Name(self, node: ast.Name) -> None:
        """Nothing lies below."""

    def visit_Constant(self, node: ast.Constant) -> None:
        """Nothing lies below."""

    # -- names and values -------------------------------------------------------------------------------------------

    def name_of(self, node: ast.expr) -> str | None:
        """Qualified name of an expression that is one."""
        return qualified_name(node, self.imports)

    def _lookup(self, name: str) -> Binding | None:
        if name.startswith("self.") and self._classes:
            return self._attribute(f"{self._classes[-1]}.{name[5:]}")
        for scope in reversed(self._scopes):
            if name in scope.bindings:
                return scope.bindings[name]
        return self.known.names.get(name) if self._path else None

    def _attribute(self, name: str) -> Binding | None:
        known, so_far = self.known.attributes.get(name), self.found.attributes.get(name)
        if known is None or known.origin is not None or so_far is None:
            return known
        # The constructor's parameters were not known at the first reading.
        return Binding(known.value, so_far.origin)

    def value_of(self, node: ast.expr) -> object:
        """The constant an expression is known to be."""
        return value_of(node, self.name_of, lambda name: (self._lookup(name) or Binding()).value)

    def origin_of(self, node: ast.expr) -> Origin | None:
        """The call that a value came from."""
        if isinstance(node, ast.BoolOp):
            node = node.values[0]
        elif isinstance(node, ast.IfExp):
            node = node.body
        if isinstance(node, ast.Call):
            return self._origin_of_call(node)
        if isinstance(node, ast.Subscript):
            return _through(self.origin_of(node.value), "[]")
        if not isinstance(node, (ast.Name, ast.Attribute)):
            return None
        bound = self._lookup(self.name_of(node) or "")
        if bound is None and isinstance(node, ast.Attribute):
            return _through(self.origin_of(node.value), f".{node.attr}")
        return bound.origin if bound is not None else None

    def _origin_of_call(self, node: ast.Call) -> Origin | None:
        site = self._site(node)
        kept = site.receiver_origin if site.method in KEEPING_METHODS and site.name.startswith(".") else None
        if kept is not None:
            return _through(kept, site.method)
        if site.name in KEEPING_FUNCTIONS:
            first = next((a for a in site.arguments), None)
            return _through(first.origin, site.method) if first else None
        own = self.known.result_of(site.name, self.others)
        return own or Origin(site.name, site)

    def _resolved(self, origin: Origin | None) -> Origin | None:
        """The first reading may have stopped at a function whose result it did not know yet."""
        own = self.known.result_of(origin.name, self.others) if origin is not None else None
        return origin if origin is None or own is None else Origin(own.name, own.call, own.through + origin.through)

    # -- calls ------------------------------------------------------------------------------------------------------

    def _site(self, node: ast.Call) -> CallSite:
        if id(node) not in self._sites:
            self._sites[id(node)] = self._make_site(node)
        return self._sites[id(node)]

    def _make_site(self, node: ast.Call) -> CallSite:
        name, receiver = self.name_of(node.func), None
        receiver_origin = None
        if isinstance(node.func, ast.Attribute):
            root = (name or "").partition(".")[0]
            if name is None or root not in self._roots:
                receiver = self.text.code(node.func.value)
                receiver_origin = self.origin_of(node.func.value)
                name = f".{node.func.attr}"
        called = self._called(node.func)
        if called is not None:
            receiver_origin = called
            if MODULE_METHODS.issuperset(called.through) and called.name.rpartition(".")[2][:1].isupper():
                # Calling an object made earlier: `unfold = nn.Unfold(3)`, then `unfold(x)`.
                name, receiver = f"{called.name}.forward", self.text.code(node.func)
        return CallSite(
            name=name or "",
            code=self.text.code(node),
            span=self.text.span(node),
            arguments=tuple(self._arguments(node)),
            receiver=receiver,
            receiver_origin=receiver_origin,
            function=".".join(self._path),
            contexts=tuple(self._contexts),
            conditions=tuple(self._conditions),
            in_loop=self._loops[-1] > 0,
            target=self._targets.get(id(node)),
            discarded=id(node) in self._discarded,
        )

    def _called(self, function: ast.expr) -> Origin | None:
        """The call that made what is called, when it is an object and no function."""
        if isinstance(function, ast.Call):
            return self.origin_of(function)
        return (self._lookup(self.name_of(function) or "") or Binding()).origin

    def _arguments(self, node: ast.Call) -> Iterable[Argument]:
        given: list[tuple[str | None, ast.expr]] = [(None, arg) for arg in node.args]
        given += [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg is not None]
        return (self._argument(name, expression) for name, expression in given)

    def _argument(self, name: str | None, node: ast.expr) -> Argument:
        return Argument(
            code=self.text.code(node),
            span=self.text.span(node),
            name=name,
            value=self.value_of(node),
            origin=self.origin_of(node),
        )

    def visit_Call(self, node: ast.Call) -> None:
        """Note a call and what is passed to functions of this file."""
        self.generic_visit(node)
        site = self._site(node)
        self.calls.append(site)
        function = f"{self._classes[-1]}{site.name}" if site.receiver == "self" and self._classes else site.name
        if not function.startswith("."):
            positional = 0
            for argument in site.arguments:
                key: int | str = positional if argument.name is None else argument.name
                positional += argument.name is None
                self._pass(function, key, argument.origin)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """`a @ b` is a call as well."""
        self.generic_visit(node)
        if isinstance(node.op, ast.MatMult):
            arguments = tuple(self._argument(None, side) for side in (node.left, node.right))
            code, span = self.text.code(node), self.text.span(node)
            self.calls.append(CallSite("operator.matmul", code, span, arguments, function=".".join(self._path)))

    def _pass(self, function: str, key: int | str, origin: Origin | None) -> None:
        # Callers that disagree say nothing about the parameter.
        if (function, key) in self.found.parameters:
            before = self.found.parameters[function, key]
            if before is None or origin is None or before.name != origin.name:
                origin = None
        self.found.parameters[function, key] = origin

    # -- statements -------------------------------------------------------------------------------------------------

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call as a statement throws its result away."""
        if isinstance(node.value, ast.Call):
            self._discarded.add(id(node.value))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Note what names hold from here on."""
        self._assign(node.targets, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """As an assignment."""
        if node.value is not None:
            self._assign([node.target], node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """The name holds something new."""
        self.generic_visit(node)
        operator = SIGNS.get(type(node.op), "?")
        self._note(node.target, node.value, self.value_of(node.value), operator)
        self._bind(node.target, Binding())

    def _assign(self, targets: list[ast.expr], value: ast.expr) -> None:
        if isinstance(value, ast.Call) and len(targets) == 1:
            self._targets[id(value)] = self.text.code(targets[0])
        self.visit(value)
        binding = Binding(self.value_of(value), self.origin_of(value))
        for target in targets:
            self.visit(target)
            self._note(target, value, binding.value)
            self._bind(target, binding)

    def _note(self, target: ast.expr | None, value: ast.expr, constant: object, operator: str = "") -> None:
        self.assignments.append(
            Assignment(
                target=self.text.code(target) if target is not None else "return",
                code=self.text.code(value),
                span=self.text.span(value),
                value=constant,
                call=self._site(value) if isinstance(value, ast.Call) else None,
                origin=self.origin_of(value),
                operator=operator,
                function=".".join(self._path),
                conditions=tuple(self._conditions),
                owner=self.origin_of(target.value) if isinstance(target, ast.Attribute) else None,
            )
        )

    def _bind(self, target: ast.expr, binding: Binding) -> None:
        if isinstance(target, ast.Name):
            self._scopes[-1].bind(target.id, binding)
        elif isinstance(target, (ast.Tuple, ast.List)):
            values = binding.value if isinstance(binding.value, tuple) else ()
            plain = len(values) == len(target.elts) and not any(isinstance(item, ast.Starred) for item in target.elts)
            for position, item in enumerate(target.elts):
                self._bind(item, Binding(values[position] if plain else UNKNOWN, _through(binding.origin, "[]")))
        elif isinstance(target, ast.Attribute) and self._classes and self.name_of(target.value) == "self":
            Scope(self.found.attributes).bind(f"{self._classes[-1]}.{target.attr}", binding)

    def visit_Return(self, node: ast.Return) -> None:
        """Note where a function's result comes from."""
        self.generic_visit(node)
        if node.value is None:
            return
        self._note(None, node.value, self.value_of(node.value))
        origin = self.origin_of(node.value)
        if origin is not None and self._path:
            self.found.returns.setdefault(self._path[-1], origin)

    # -- blocks -----------------------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """A scope of its own; parameters hold what the callers in this file agree on."""
        for part in (*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)):
            self.visit(part)
        scope = Scope()
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        function, first = node.name, 0
        if self._classes and self._path[-1:] == self._classes[-1:] and names[:1] == ["self"]:
            function, first = self._classes[-1] + (f".{node.name}" if node.name != "__init__" else ""), 1
        for position, name in enumerate(names):
            given = self.known.parameters
            origin = given.get((function, name)) or given.get((function, position - first))
            scope.bind(name, Binding(UNKNOWN, self._resolved(origin)))
        self._block(node.name, scope, node.body, [self._context(item) for item in node.decorator_list])

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name that NodeVisitor looks for

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A scope of its own."""
        self._classes.append(node.name)
        self._block(node.name, Scope(), node.body)
        self._classes.pop()

    def _block(self, name: str, scope: Scope, body: list[ast.stmt], decorators: list[str] | None = None) -> None:
        contexts, self._contexts = self._contexts, decorators or []
        conditions, self._conditions = self._conditions, []
        self._path.append(name)
        self._scopes.append(scope)
        self._loops.append(0)
        for statement in body:
            self.visit(statement)
        self._loops.pop()
        self._scopes.pop()
        self._path.pop()
        self._contexts, self._conditions = contexts, conditions

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        """Calls inside know what surrounds them."""
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._bind(item.optional_vars, Binding(UNKNOWN, self.origin_of(item.context_expr)))
        names = [self._context(item.context_expr) for item in node.items]
        self._contexts.extend(names)
        for statement in node.body:
            self.visit(statement)
        del self._contexts[len(self._contexts) - len(names) :]

    visit_AsyncWith = visit_With  # noqa: N815 - the name that NodeVisitor looks for

    def _context(self, node: ast.expr) -> str:
        called = node.func if isinstance(node, ast.Call) else node
        return self.name_of(called) or self.text.code(called)

    def visit_If(self, node: ast.If) -> None:
        """What is inside knows under which tests it runs."""
        self.visit(node.test)
        test = self.text.code(node.test)
        for condition, body in ((test, node.body), (f"not ({test})", node.orelse)):
            self._conditions.append(condition)
            for statement in body:
                self.visit(statement)
            self._conditions.pop()

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        """The loop variable holds items of what is looped over."""
        self.visit(node.iter)
        origin = self.origin_of(node.iter)
        self._bind(node.target, Binding(UNKNOWN, _through(origin, "[]")))
        self._keep_loop("for", node, node.iter, node.target)
        self._loop([*node.body, *node.orelse])

    visit_AsyncFor = visit_For  # noqa: N815 - the name that NodeVisitor looks for

    def visit_While(self, node: ast.While) -> None:
        """A loop."""
        self.visit(node.test)
        self._keep_loop("while", node, node.test, None)
        self._loop([*node.body, *node.orelse])

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        """A loop whose variables are its own."""
        self._scopes.append(Scope())
        for part in node.generators:
            self.visit(part.iter)
            self._bind(part.target, Binding(UNKNOWN, _through(self.origin_of(part.iter), "[]")))
        self._keep_loop("comprehension", node, node.generators[0].iter, node.generators[0].target)
        self._loops[-1] += 1
        for test in (test for part in node.generators for test in part.ifs):
            self.visit(test)
        for item in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(item)
        self._loops[-1] -= 1
        self._scopes.pop()

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp  # noqa: N815 - the names that it looks for

    def _loop(self, body: list[ast.stmt]) -> None:
        self._loops[-1] += 1
        for statement in body:
            self.visit(statement)
        self._loops[-1] -= 1

    def _keep_loop(self, kind: str, node: ast.stmt | ast.expr, header: ast.expr, target: ast.expr | None) -> None:
        self.loops.append(
            Loop(
                kind=kind,
                header=self.text.code(header),
                target=self.text.code(target) if target is not None else "",
                span=self.text.span(node),
                origin=self.origin_of(header) if kind != "while" else None,
                function=".".join(self._path),
            )
        )


def _through(origin: Origin | None, step: str) -> Origin | None:
    return None if origin is None else Origin(origin.name, origin.call, (*origin.through, step))
