"""The published formats of pairs, each declared once, in the order in which they are tried.

The documentation's table and the command line's help are made of them. To add a format, add
its declaration; `docs/data.md` and the tests ask for its row and for a file of it.
"""

from patchwright.errors import InputError, quoted
from patchwright.prompts.formats.facts import FactFields, facts
from patchwright.prompts.formats.few_shot import few_shot
from patchwright.prompts.formats.format import TEXT, FieldMapping, Format, columns_format
from patchwright.prompts.formats.minimal_pairs import minimal_pairs
from patchwright.prompts.formats.names import (
    ioi_sentences,
    ioi_templates,
    is_ioi_sentence,
    is_ioi_template,
    is_pronoun_template,
    pronoun_templates,
)
from patchwright.prompts.formats.own import own_pairs
from patchwright.prompts.formats.token_ids import ANSWERS, eap
from patchwright.prompts.formats.years import is_year_span, year_spans

OWN = "patchwright"
"""The format that this program writes."""

_ANOTHER_SUBJECT = "the prompt with another record's subject of the same relation"
_ITS_ANSWER = "the other subject's answer"

FORMATS = (
    Format(
        OWN,
        "Patchwright's own",
        "patchwright build, the page",
        (("clean", "corrupt", "answer"),),
        FieldMapping("`clean`", "`corrupt`", "`answer`", "`wrong`"),
        own_pairs,
        ("wrong", "tags", "align", "roles", "notes", "subject"),
    ),
    Format(
        "counterfact",
        "CounterFact",
        "Meng et al. 2022, github.com/kmeng01/rome",
        (
            (
                "requested_rewrite.prompt",
                "requested_rewrite.subject",
                "requested_rewrite.target_true.str",
            ),
        ),
        FieldMapping(
            "`prompt` with `subject` for `{}`", _ANOTHER_SUBJECT, "`target_true.str`", _ITS_ANSWER
        ),
        facts(
            FactFields(
                "requested_rewrite.prompt",
                "requested_rewrite.subject",
                "requested_rewrite.target_true.str",
                ("requested_rewrite.relation_id", "requested_rewrite.prompt"),
                "requested_rewrite.target_new.str",
                mark="{}",
            )
        ),
        ("requested_rewrite.target_new.str", "requested_rewrite.relation_id"),
    ),
    Format(
        "counterfact-tracing",
        "CounterFact for tracing",
        "huggingface.co/datasets/NeelNanda/counterfact-tracing",
        (("prompt", "subject", "target_true"),),
        FieldMapping("`prompt`", _ANOTHER_SUBJECT, "`target_true`", _ITS_ANSWER),
        facts(
            FactFields(
                "prompt", "subject", "target_true", ("relation_id", "relation"), "target_false"
            )
        ),
        ("target_false", "relation_id", "relation"),
    ),
    Format(
        "known-1000",
        "known_1000",
        "Meng et al. 2022, github.com/kmeng01/rome",
        (("subject", "attribute", "prompt"),),
        FieldMapping("`prompt`", _ANOTHER_SUBJECT, "`attribute`", _ITS_ANSWER),
        facts(FactFields("prompt", "subject", "attribute", ("relation_id", "template"))),
        ("relation_id", "template"),
    ),
    Format(
        "eap",
        "EAP-IG",
        "Hanna et al. 2024, github.com/hannamw/EAP-IG",
        tuple(("clean", "corrupted", *both) for both in ANSWERS),
        FieldMapping(
            "`clean`", "`corrupted`", "the first numbers' tokens", "the second numbers' tokens"
        ),
        eap,
        ("tokenizer",),
    ),
    columns_format(
        "auto-circuit",
        "auto-circuit",
        "Miller et al. 2024, github.com/UFO-101/auto-circuit",
        ("clean", "corrupt", "answers", "wrong_answers"),
    ),
    columns_format(
        "docstring",
        "Docstrings",
        "Heimersheim & Janiak 2023, github.com/ArthurConmy/Automatic-Circuit-Discovery",
        ("clean_prompt", "corrupt_prompt", "correct_answers", "wrong_answers"),
        of_corrupt=", of several `random_random` or the first",
    ),
    columns_format(
        "feature-circuits",
        "Sparse feature circuits",
        "Marks et al. 2024, github.com/saprmarks/feature-circuits",
        ("clean_prefix", "patch_prefix", "clean_answer", "patch_answer"),
    ),
    columns_format(
        "pronouns",
        "Gendered pronouns",
        "Mathwin et al. 2023; Bhaskar et al. 2024, github.com/princeton-nlp/Edge-Pruning",
        ("prefix", "corr_prefix", "pronoun", "corr_pronoun"),
        "name",
        space=True,
    ),
    Format(
        "greater-than",
        "Greater-than",
        "Hanna et al. 2023, github.com/hannamw/gpt2-greater-than",
        (("clean", "corrupted"), ("prefix", "corr_prefix"), (TEXT,)),
        FieldMapping(
            "`clean`, `prefix` or the sentence",
            "`corrupted` or `corr_prefix`, or the span from 01",
            "all later numbers",
            "all others",
        ),
        year_spans,
        ("correct_idx", "digits"),
        is_year_span,
        "that ends in the first two digits of its year",
    ),
    Format(
        "blimp",
        "BLiMP",
        "Warstadt et al. 2020, github.com/alexwarstadt/blimp",
        (("sentence_good", "sentence_bad"),),
        FieldMapping(
            "what both sentences begin with, or `one_prefix_prefix`",
            "its subject or determiner in the other number, or another record's beginning that goes on "
            "with the bad word; `two_prefix_prefix_bad`",
            "the good word where they first differ",
            "the bad word",
        ),
        minimal_pairs,
        (
            *(f"one_prefix_{part}" for part in ("prefix", "word_good", "word_bad")),
            *(f"two_prefix_{part}" for part in ("prefix_good", "prefix_bad", "word")),
        ),
    ),
    Format(
        "function-vectors",
        "Function vectors",
        "Todd et al. 2024, github.com/ericwtodd/function_vectors",
        (("input", "output"),),
        FieldMapping(
            "`input` after other records as examples",
            "the same with the examples' outputs moved",
            "`output`",
            "the first example's output",
        ),
        few_shot,
    ),
    Format(
        "ioi-templates",
        "Indirect objects, templates",
        "Wang et al. 2023, github.com/redwoodresearch/Easy-Transformer",
        ((TEXT,),),
        FieldMapping("the template with names", "with A as the giver", "A", "B"),
        ioi_templates,
        looks=is_ioi_template,
        text="with the slots `[A]` and `[B]`, and `[PLACE]` and `[OBJECT]`",
    ),
    Format(
        "pronoun-templates",
        "Gendered pronouns, templates",
        "Mathwin et al. 2023, cmathw.itch.io",
        ((TEXT,),),
        FieldMapping(
            "the template with a name", "with another name", "its pronoun", "the other pronoun"
        ),
        pronoun_templates,
        looks=is_pronoun_template,
        text="with the slot `{name}`",
    ),
    Format(
        "ioi-sentences",
        "Indirect objects, sentences",
        "Wang et al. 2023; huggingface.co/datasets/fahamu/ioi",
        ((TEXT,),),
        FieldMapping(
            "the sentence without its last name",
            "with the other name as the giver, or `corr_ioi_sentences`",
            "the name that does not give",
            "the giver",
        ),
        ioi_sentences,
        ("io", "s", "corr_ioi_sentences"),
        is_ioi_sentence,
        "that joins two names, of which one comes again",
    ),
)
"""All formats but that whose columns a person names."""


def format_of(name: str) -> Format:
    """The format called `name`. Raises InputError with those there are."""
    for one in FORMATS:
        if one.name == name:
            return one
    known = ", ".join(("auto", *(one.name for one in FORMATS)))
    raise InputError(f"{quoted(name)} is no format of pairs. They are: {known}.")
