"""Run times: what computes a graph, behind one protocol."""
