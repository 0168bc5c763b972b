"""The databases as a text to read: what each is, what it holds, and how to come by it."""

from __future__ import annotations

import textwrap

from ekman_expressions.core.expressions import EXPRESSIONS
from ekman_expressions.faces.contract import Database
from ekman_expressions.faces.databases import DATABASES, OWN, database

_WIDTH = 100
_OWN = "(other)"


def table() -> str:
    """Return an overview of all databases, then what to know of each."""
    head = ["name", "persons", *EXPRESSIONS, "others"]
    lines = ["Images per expression in a complete copy, with the default options:", ""]
    lines.append(f"  {head[0]:<11}" + "".join(f"{text:>10}" for text in head[1:]))
    for name, known in DATABASES.items():
        others = sum(count for key, count in known.images.items() if key not in EXPRESSIONS)
        numbers = [known.subjects, *(known.images.get(key) for key in EXPRESSIONS)]
        numbers.append(others if known.images else None)
        lines.append(f"  {name:<11}" + "".join(f"{'-' if n is None else n:>10}" for n in numbers))
    for name, known in (*DATABASES.items(), (_OWN, OWN)):
        lines += ["", *_card(name, known)]
    lines += [
        "",
        *textwrap.wrap(
            "Terms are told in our own words and may have changed: only the owners' own text is binding.",
            _WIDTH,
        ),
        "Check a copy with: ekman-expressions datasets NAME ROOT",
    ]
    return "\n".join(lines)


def card(name: str) -> str:
    """Return what to know of one database."""
    return "\n".join(_card(name, database(name)))


def _card(name: str, known: Database) -> list[str]:
    lines = [f"{name}: {known.title}"]
    facts = {
        "layout": known.layout,
        "terms": known.terms.use,
        "access": known.terms.access,
        "cite": known.terms.reference,
    } | {f"option {key}": option.help for key, option in known.options.items()}
    for key, text in facts.items():
        lines += textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=f"  {key + ':':<16}",
            subsequent_indent=" " * 18,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
