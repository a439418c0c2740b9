"""Queue, filters, scores, binding."""
