"""Models whose circuit is planted: every weight is written by hand, so every effect is known.

They are checkpoints of the GPT-2 architecture that are made in memory when they are asked for:
`planted-induction` by `induction.py`, and so on. Each of these files has a `build`. Nothing in them
was trained. What every method must find in them is in `known_answers`.

builder   a GPT-2 of zeros, and how to write embeddings, heads and MLPs into it
words     their tokenizer: one token a word

The idea of writing a transformer's weights by hand so that interpretability methods can be tested
on a known circuit is that of Lindner et al. 2023 (Tracr) and Gupta et al. 2024 (InterpBench).
"""
