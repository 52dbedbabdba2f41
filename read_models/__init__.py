"""SHOWS: the keys and the bytes of each view in Redis.

Layout. Every key is `g<generation>:{p<partition>}:<name>`. The part in braces is what a cluster hashes,
so all keys of a partition, of every generation, share a slot: a script may touch them all at once.

    g1766:{p07}:checkpoint              "<incarnation>.<position> complete", see checkpoints.py
    g1766:{p07}:cart:<cart id>          a document: the serialized view
    g1766:{p07}:cart-skus:<cart id>     what GetCart needs beside the bytes, joined by NUL
    g1766:{p07}:customer-orders:<id>    an index: a sorted set of entries, see entries.py
    g1766:{p07}:orders-by-state:<n>     this partition's part of an index over everything
    {read-models}:registry              which generations there are and which one serves: registry.py

A document belongs to the partition of its own id, an index to the partition of what it belongs to.
"""
