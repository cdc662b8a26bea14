"""What was measured, read back: records of this machine and others, candidates, Pareto fronts, decisions, costs.

It decides and computes, and writes no sentence: rules of a decision may be changed here alone; a new key of a record
needs the stage that writes it.
"""
