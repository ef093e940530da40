"""What the commands do: each module one or two commands, called by `attending.cli` with parsed options."""
