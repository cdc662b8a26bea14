"""Charts as SVG: `canvas` is what all are drawn on, `shapes` knows bars and dots, the others say which figures."""
