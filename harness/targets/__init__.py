"""What a run is aimed at: one file each.

In    the case's folders and the limits of the service
Out   an async context that yields an address
Rule  whatever a target starts, it ends, however the run ended
Why   drivers know an address and nothing of how it came about
"""
