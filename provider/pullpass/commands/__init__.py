"""The commands, one module each: `DESCRIPTION`, `EXAMPLE`, `add_arguments`, `run`."""
