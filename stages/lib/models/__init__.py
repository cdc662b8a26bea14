"""A diffusers pipeline on disk and in memory: its kind, folder, networks, calls of networks, what it stores.

It knows no numeric format. A pipeline's networks are told by
their roles and by what is seen from outside (`kinds`, `watch`, `calls`); what no model says of itself is a line of
`families`. How a folder is read or a tensor counted may be changed without looking elsewhere, as long as units stay.
"""
