"""From a prompt and stored noise to pixels: sampling, folders of images, step latents, the safety checker's decision.

A change of what is computed here changes every image: the tests that compare bytes must be looked at; how work is
spread may be changed freely.
"""
