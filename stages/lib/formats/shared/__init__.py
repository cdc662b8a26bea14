"""What several back ends share: rounding, devices, availability, counting of executed work, exported graphs.

A back end's own peculiarity does not belong here: with one user, a function moves into that back end's package.
"""
