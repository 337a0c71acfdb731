"""An order meets a market: what an order may be, when it trades and at what price, and what that does to its account.

``engine`` is the door. One ``MatchingEngine`` is the book of one account; the venue and the backtester drive it alike, and it
knows neither of them: no I/O, no clock, no HTTP.
"""
