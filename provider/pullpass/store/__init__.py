"""The shared hashing and record module: what pullpass's own files and the kubelet's records have in common.

* `pullpass.store.digest`: names of keys, hashes.
* `pullpass.store.files`: private directories, atomic writes, strict reads.
* `pullpass.store.strict`: JSON that somebody else wrote.
"""
