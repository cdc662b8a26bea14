"""A second opinion on a finished run: its figures again from its files, without a line of stages/."""
