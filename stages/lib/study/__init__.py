"""The original study: its printed figures held against arithmetic and beside what is measured here.

Only the stage `report` uses it; its data lie in data/study. Without it the report would lose the blocks beside its
tables and three chapters, and nothing else: all of it may be changed without looking elsewhere.
"""
