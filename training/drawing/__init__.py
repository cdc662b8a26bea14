"""The parts of the procedural picture drawer: content, canvas, sky, places, subjects, styles."""
