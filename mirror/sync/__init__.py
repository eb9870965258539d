"""One poll: ask upstream, plan, adopt, fetch, judge, publish. `poll` has the sequence.

Where the disk refuses, a StorageError ends it; what was published by then stands.
"""
