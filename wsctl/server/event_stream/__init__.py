"""Event streams of clients: `GET /events/{client_id}`."""
