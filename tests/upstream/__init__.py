"""An upstream to test against: an archive in memory and a real server that can misbehave.

It behaves as the real one does (nginx before an object store) until it is asked not to:

    archive = UpstreamArchive.with_days(first, last)  # archive.py: what is stored
    async with ArchiveServer(archive) as server:  # server.py: on a real socket
        server.fail("index.jsonl", Status(503))  # faults.py, bodies.py: the next answer is bad
        server.fail("events-*", Cut(0.5), times=3)
        server.chaos(rng, [Reset(), Stall()], 0.1)  # or one answer in ten, at random
        ...  # what the mirror does about it
        assert server.count("index.jsonl") == 2  # every request is kept in server.requests

A fault is a value called with the `Exchange` (wire.py) that it spoils: any coroutine function
will do. `server.style` (replies.py) says which headers honest answers have. Incidents of the
publisher are attributes of the archive: `index_shrunk`, `index_frozen`, `claims`. Event lines of
every version come from launches.py, eras.py and repositories.py.

Nothing here imports `mirror`: it must not be wrong in the same way.
"""
