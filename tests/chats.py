"""Chat templates of several kinds, and tiny models whose tokenizers have them."""

from functools import cache
from typing import Any

from transformers import PreTrainedTokenizerFast

import patchwright as pw
from tiny import random_gpt2
from vocabularies import END, KINDS, START

TURNS = ["<|im_start|>", "<|im_end|>", "<|header|>", "<|/header|>", "<|eot|>"]

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SYSTEM = "You are a tiny model. Be kind."
_DEFAULT = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    + SYSTEM
    + "<|im_end|>\n' }}{% endif %}"
)
LLAMA = (
    "{{- bos_token }}{%- if not date_string is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}"
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] | trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}"
    "{{- '<|header|>system<|/header|>\n\n' }}{{- 'Today Date: ' + date_string + '\n\n' }}"
    "{{- system }}{{- '<|eot|>' }}{%- for message in messages %}"
    "{{- '<|header|>' + message['role'] + '<|/header|>\n\n' + message['content'] | trim + '<|eot|>' }}"
    "{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|header|>assistant<|/header|>\n\n' }}{%- endif %}"
)
PLAIN = (
    "{% for message in messages %}{{ message['role'] | upper + ': ' + message['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
CLOCK = "{{ bos_token }}Today is {{ strftime_now('%A, %-d %B %Y') }}.\n" + PLAIN
ALTERNATING = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% endfor %}"
)
TEMPLATES = {
    "ChatML": CHATML,
    "system of its own": _DEFAULT + CHATML,
    "Llama 3": LLAMA,
    "plain": PLAIN,
    "clock": CLOCK,
    "alternating": ALTERNATING,
    "twice the start": "{{ bos_token }}{{ bos_token }}" + CHATML,
}


@cache
def chat_tokenizer(
    template: str | None, kind: str = "bytes", start: str | None = START
) -> PreTrainedTokenizerFast:
    """A tokenizer of a kind of `vocabularies.KINDS`, with turns' tokens and a template."""
    backend = KINDS[kind]()
    backend.add_special_tokens(TURNS)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=start, eos_token=END, chat_template=template
    )


@cache
def chat_model(name: str, kind: str = "bytes", start: str | None = START) -> pw.Model:
    """A random GPT-2 with a template of `TEMPLATES`."""
    tokenizer = chat_tokenizer(TEMPLATES[name], kind, start)
    module = random_gpt2(vocab_size=len(tokenizer), n_positions=128, n_layer=2)
    return pw.wrap_model(module, tokenizer, name=name)


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def chat_pair(**changes: Any) -> pw.Pair:
    """Two questions that a user asks."""
    fields: dict[str, Any] = {
        "clean": [user("The capital of France is in the city of")],
        "corrupt": [user("The capital of Berlin is in the city of")],
        "answer": "Paris",
        "wrong": "Rome",
    }
    return pw.Pair(**fields | changes)
