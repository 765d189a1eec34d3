"""Globs and templates of the configuration, matched segment by segment without `re`."""
