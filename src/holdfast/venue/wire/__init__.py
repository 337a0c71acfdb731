"""Alpaca's JSON, both ways: the venue's values as the members that clients expect, and clients' text as values.

Every member that the official SDK requires is present, also the ones Alpaca has deprecated.
"""
