"""One poll: ask upstream, plan, adopt, fetch, judge, publish. `poll` has the sequence."""
