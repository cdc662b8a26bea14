"""From results to a page for the screen and a PDF: charts, images, words, tables, templates and catalogues.

No figure is measured here. Texts stand in templates and in `words` and are translated in `locales`; they may be changed
without looking elsewhere. A new table, figure or chart is a key of `outline`, which numbers them in the order they
stand, its source in stages.lib.project.lineage, and its template; then `python -m tools.catalogue`.
"""
