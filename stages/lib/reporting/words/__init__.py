"""Sentences and names that follow from figures and codes, in the language that is spoken."""
