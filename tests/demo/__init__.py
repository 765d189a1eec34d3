"""The demo: a node and its cloud on this machine, and seven scenes that show what pullpass gives out and what not.

Its parts: `stage` (the node: configuration, launchers, the kubelet's way to run them), `clients` (who pulls with what
was issued), `scenes` (the story, and what each scene expects), `telling` (what a person or a program reads of it).
`scripts/demo` starts it.
"""
