"""Messages to people and programs outside: webhooks, Slack, Teams, mail."""
