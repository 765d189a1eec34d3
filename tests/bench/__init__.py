"""Figures: what is measured, against what, by one command each (`scripts/bench NAME`)."""
