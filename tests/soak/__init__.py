"""Many processes at once on one state directory, killed at random, and what must be true afterwards: `scripts/soak`.

`stage` is the node, its cloud and what is asked; `storm` runs the processes; `meddling` gives and lifts orders and
prunes meanwhile; `verdict` looks at what is left.
"""
