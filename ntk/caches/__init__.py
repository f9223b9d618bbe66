"""Caches that keep alive neither functions nor what they refer to."""
