"""From results to a page for the screen and a PDF: charts, images, words, tables, templates and catalogues.

Only the stage `report` and the room `study` use it; no figure is measured here. Texts stand in templates and in `words`
and are translated in `locales`; all of it may be changed without looking elsewhere.
"""
