"""The product in a small world of its own: a fake cloud, real files, a clock that is set, and what should come of it.

* `modelling.cloud`: an exchanger that does what it is told, and remembers it.
* `modelling.world`: directories, clock, cloud, orders, damages, crashes.
* `modelling.laws`: what must hold for every answer, whatever came before; from the history alone.
* `modelling.reference`: what exactly should be answered when requests come one after the other.
* `modelling.kubelet`: the kubelet's cache of answers.
"""
