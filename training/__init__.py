"""How the embedded model of `data/embedded` was made: scenes, tokenizer and networks trained from scratch."""
