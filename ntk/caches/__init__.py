"""Caches of things that are made from functions. They do not keep the functions alive."""
