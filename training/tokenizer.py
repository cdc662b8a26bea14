"""Train the byte-pair tokenizer on the captions and save it as a CLIPTokenizer folder."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from stages.lib.project.errors import run_stage
from stages.lib.project.files import whole_folder
from training.captions import STUDY_PROMPTS
from training.data import ATTRIBUTES, captions_of, load_scenes
from training.settings import load_settings

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_length: int) -> CLIPTokenizer:
    """A CLIPTokenizer with merges learned from `texts`; it can encode any text, since all 256 bytes are symbols.

    The vocabulary has CLIP's layout: bytes, word-final bytes, merges, start, end; at most `vocab_size` entries.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = alphabet + [symbol + WORD_END for symbol in alphabet]
    shell = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.normalizer, learner.pre_tokenizer = shell.normalizer, shell.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=alphabet,
        end_of_word_suffix=WORD_END,
        show_progress=False,
        min_frequency=2,
    )
    learner.train_from_iterator(texts, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    merges = merges[: vocab_size - len(symbols) - 2]
    entries = list(dict.fromkeys([*symbols, *("".join(pair) for pair in merges), START, END]))
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=max_length)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save in the layouts of old and new transformers: vocab.json and merges.txt beside tokenizer.json."""
    with whole_folder(folder) as temporary:
        tokenizer.save_pretrained(temporary)
        tokenizer.backend_tokenizer.model.save(str(temporary))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("training/params.yaml"))
    parser.add_argument("--work", type=Path, default=Path("training/work"))
    options = parser.parse_args()
    settings = load_settings(options.params)
    captions = captions_of(load_scenes(options.work, "train"), settings.render.captions_per_scene, settings.seed)
    prompts = [text for prompts in ATTRIBUTES.values() for text in prompts.values()]
    texts = [*STUDY_PROMPTS, *prompts, *(text for texts in captions for text in texts)]
    tokenizer = train_tokenizer(texts, settings.tokenizer.vocab_size, settings.tokenizer.max_length)
    save_tokenizer(tokenizer, options.work / "tokenizer")
    longest = max(len(ids) for ids in tokenizer(sorted(set(texts)))["input_ids"])
    print(f"{len(tokenizer)} entries; the longest of {len(set(texts))} captions has {longest} tokens")


if __name__ == "__main__":
    run_stage(main)
