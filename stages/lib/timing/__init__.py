"""Seconds and bytes: timed processes in turns, memory meters, counting of executed work, predicted speed-up.

What a clock encloses is part of every published figure; how results are put into records may be changed with the stage
that writes them.
"""
