"""Live streams for others: websocket server and client, load test, latency."""
