"""formats/shared."""
