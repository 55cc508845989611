"""Who may ask, what a request may cost, and how a refusal is told."""
