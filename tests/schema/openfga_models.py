"""The beginnings of OpenFGA models, for tests that only care about what follows."""

HEAD = "model\n  schema 1.1\ntype user\n"
DOC = f"{HEAD}type doc\n  relations\n"


def doc(*definitions: str) -> str:
    """A model whose type ``doc`` has these relations, the first of them on its sixth line."""
    return DOC + "".join(f"    define {definition}\n" for definition in definitions)


def with_condition(parameters: str, expression: str) -> str:
    """A model with a condition on its seventh line."""
    return f"{doc('aa: [user with c1]')}condition c1({parameters}) {{ {expression} }}\n"
