"""Who listens, and what they are told: the two WebSockets, the server-sent events, and the feed behind the market data."""
