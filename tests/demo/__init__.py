"""The demo: a node and its clouds on this machine, and sixteen scenes that show what pullpass gives out and what not.

Its parts: `stage` (the node: configuration, launchers, the kubelet's way to run them), `clients` (who pulls with what
was issued), `story` (the scenes), `scenes` and `lasting` (what kinds of them there are, and what each expects),
`telling` (what a person or a program reads of it). `scripts/demo` starts it.
"""
