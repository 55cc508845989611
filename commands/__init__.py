"""The subcommands of the command line, one room each; imported only when called."""
