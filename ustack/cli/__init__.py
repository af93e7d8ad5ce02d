"""The command `ustack`: `main` has the parser, each other module of `COMMANDS` one command."""
