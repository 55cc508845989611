"""The report: what it shows, and the page that shows it."""
