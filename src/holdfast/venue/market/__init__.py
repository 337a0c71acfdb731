"""The market that is replayed: bars, the quotes and trades inside them, and the one order in which they happen.

It knows no accounts. ``replay`` is the order of things where orders meet bars, ``quoted`` where they meet quotes.
"""
