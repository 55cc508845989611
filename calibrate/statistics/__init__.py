"""The statistics: pure functions of arrays, which import nothing else of the house but errors."""
