"""Faults of the local system, put by `strace` under each call that a request makes about its files.

* `faults.scenarios`: the requests, each with the state it finds and the cloud it meets.
* `faults.site`: a configuration and its two directories on a disk, which are put back before each run.
* `faults.program`: one request in a process of its own; `faults.upstream` is its cloud.
* `faults.tracer`: the calls of a process, and the injection.
* `faults.invariants`: what must hold on disk and in the answer, whatever failed.
* `faults.matrix`: steps by faults; the steps are found by a run without a fault.

`python -m faults` (in `tests`) runs it all and prints the matrix.
"""
