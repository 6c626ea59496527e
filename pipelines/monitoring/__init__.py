"""Files for a monitoring that is there already: alerts, a dashboard, and where Prometheus finds the endpoints."""
