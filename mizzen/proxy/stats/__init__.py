"""Counters, gauges, histograms and their text forms."""
