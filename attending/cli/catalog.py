"""The commands in the order of `attending --help`: patients first, then attention."""

import typer

from attending.cli import attention, models, service, studies

NOTICE = "Research software, not a medical device; not for decisions about patients."

COMMANDS = {
    "From a table of patients to a report": (
        studies.schema,
        studies.plan,
        studies.audit,
        studies.run,
        models.predict,
        models.evaluate,
        models.explain,
        models.assess,
        models.judge,
        studies.clinic,
    ),
    "A model that others ask": (
        service.serve,
        service.token,
        service.audit_log,
    ),
    "Attention: choose it, look inside, make it cheaper": (
        attention.compare,
        attention.trace,
        attention.convert,
        attention.limits,
    ),
}

app = typer.Typer(
    name="attending",
    help=f"From a table of patients to an evidence report, on attention that you choose. {NOTICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
