"""appliance plan: what a build would do, and why."""

import json
from pathlib import Path

import click

from provision.cli import _build
from provision.cli._config import with_config
from provision.cli._json import as_json
from provision.config import Loaded


@click.command()
@with_config
@_build.output
@_build.from_stage
@click.option("--offline", is_flag=True, help="Take the mirror's state from the last build.")
@click.option("--explain", is_flag=True, help="Show the inputs of each stage too.")
@as_json
def command(
    loaded: Loaded,
    output: Path | None,
    from_stage: str | None,
    offline: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Show the stages of a build, which are cached, and why the others must run."""
    from provision.build import build as builder
    from provision.config import capacity
    from provision.config.capacity import forks
    from provision.files import ordinary

    config = loaded.config
    wanted = builder.request(config, offline=offline)
    target = output or _build.default_output(config)
    ordinary(target)
    planned = builder.steps(wanted, target, from_stage=from_stage)
    if as_json:
        stages = [
            {
                "stage": step.name,
                "cached": step.cached,
                "reason": step.reason,
                "key": step.key,
                **({"inputs": step.inputs} if explain else {}),
            }
            for step in planned
        ]
        click.echo(json.dumps({"stages": stages, "output": str(target)}, indent=1))
        return
    for step in planned:
        click.echo(f"{step.name:10} {'cached' if step.cached else 'run: ' + step.reason}")
        if explain:
            click.echo(f"           {step.key[:16]} {json.dumps(step.inputs, sort_keys=True)}")
    how = "forked from processes that all share" if forks(config) else "started one by one"
    click.echo(f"sessions   {capacity(config)} at once by this memory and pool, {how}")
