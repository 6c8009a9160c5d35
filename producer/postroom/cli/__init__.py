"""The command ``postroom``: send a letter, look at letters, act on them. It speaks to people, and works elsewhere.

Exit status: 0 done; 1 what was asked for failed, with one sentence on stderr; 2 usage.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Any

import click

from postroom.cli import act, audit, doctor, explain, look, send, show, stats, suspend, tail, trace, watch
from postroom.cli.desk import Desk
from postroom.cli.elsewhere import Elsewhere
from postroom.errors import PostroomError
from postroom.reply import printable
from postroom.version import __version__

_LINE_MAX = 500


class _Commands(Elsewhere):
    """Tells what failed in words; a traceback is for what nobody foresaw."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PostroomError as error:
            lines = [printable(line, _LINE_MAX) for line in str(error).split("\n")]
            raise click.ClickException("\n".join(lines)) from error


_COMPLETION = """\b
Completion in the shell:
  bash  eval "$(_POSTROOM_COMPLETE=bash_source postroom)"
  zsh   eval "$(_POSTROOM_COMPLETE=zsh_source postroom)"
  fish  _POSTROOM_COMPLETE=fish_source postroom | source
"""


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_COMPLETION,
)
@click.option("--redis-url", metavar="URL", help="The ledger: by default POSTROOM_REDIS_URL.")
@click.version_option(__version__, prog_name="postroom")
@click.pass_context
def main(ctx: click.Context, redis_url: str | None) -> None:
    """Send an organisation's mail, see what became of each letter, and act on it."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal that cannot show a character gets its escape, not a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    ctx.obj = Desk(redis_url)
    ctx.call_on_close(ctx.obj.close)


for _command in (
    send.send,
    look.list_letters,
    show.show,
    explain.explain,
    stats.stats,
    watch.watch,
    tail.tail,
    *act.COMMANDS,
    *suspend.COMMANDS,
    trace.trace,
    audit.audit,
    doctor.doctor,
):
    main.add_command(_command)
