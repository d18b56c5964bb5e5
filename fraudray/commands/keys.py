"""Commands about the keys that the graph asks for."""

from __future__ import annotations

from typing import Any

import click

from fraudray.commands.options import json_option, name_of, option


@click.group()
def keys() -> None:
    """Make, list and remove the keys of those who may call the graph.

    A caller's key may ask for decisions, an operator's may also change what decides. They are
    kept in $FRAUDRAY_KEYS (default keys.json in $FRAUDRAY_HOME), as hashes; a graph that runs
    follows within about a second.
    """


@keys.command("add")
@click.argument("name", callback=name_of)
@option("--role", default="caller", type=click.Choice(["caller", "operator"]),
        help="What the key allows.")  # fmt: skip
def keys_add(name: str, role: Any) -> None:
    """Make a key called NAME and write its secret, this once, to standard output.

    \b
    Example:
      export FRAUDRAY_KEY=$(fraudray keys add shop)
    """
    from fraudray.output import say
    from serve_app.keys import Keys

    kept = Keys()
    click.echo(kept.add(name, role))
    say(f"This is the {role}'s key {name}; it cannot be shown again. Its hash is in {kept.path}")


@keys.command("list")
@json_option
def keys_list(as_json: bool) -> None:
    """List the names of the keys, what they allow and since when; never a secret."""
    from fraudray.output import put_json, table
    from serve_app.keys import Keys

    kept = Keys()
    entries = kept.entries()
    if as_json:
        put_json([{"name": e.name, "role": e.role, "created": e.created} for e in entries])
        return
    rows = [(e.name, e.role, e.created) for e in entries]
    table(f"Keys in {kept.path}", ("name", "role", "created"), rows)


@keys.command("remove")
@click.argument("name")
def keys_remove(name: str) -> None:
    """Remove the key called NAME: who shows it is turned away from then on."""
    from fraudray.output import say
    from serve_app.keys import Keys

    Keys().remove(name)
    say(f"Removed the key {name}")
