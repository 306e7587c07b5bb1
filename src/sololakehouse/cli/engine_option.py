"""The option of the commands that compute: on which engine."""

from __future__ import annotations

import click

engine_option = click.option(
    "--engine",
    metavar="ENGINE",
    help="'embedded', or a Spark Connect server: sc://host:15002. Default: SOLOLAKEHOUSE_ENGINE, "
    "or lakehouse.yml.",
)
