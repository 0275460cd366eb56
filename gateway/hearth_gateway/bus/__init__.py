"""Event buses: events in, and what their rules make of them out."""
