"""The nouns that stages share. Nothing here imports a stage."""
