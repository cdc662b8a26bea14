"""Images of the page and of the PDF, as data URIs: copies, details, maps of the difference, the viewer's data."""
