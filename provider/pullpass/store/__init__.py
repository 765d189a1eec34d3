"""The shared hashing and record module: what pullpass's own files and the kubelet's records have in common.

* `pullpass.store.digest`: the kubelet's credential hash and file names, our keys.
* `pullpass.store.files`: private directories, atomic writes, strict reads.
* `pullpass.store.lock`: one holder of a file across processes.
* `pullpass.store.moments`: times in files.
* `pullpass.store.strict`: JSON that somebody else wrote.
"""
