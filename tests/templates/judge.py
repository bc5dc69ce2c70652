#!/usr/bin/env python3
"""Renders chat templates with jinja2, set up exactly as Hugging Face transformers sets it up, and writes what came out.

`crates/chat_template` must give the same bytes; its test `vectors` compares. Needs: pip install jinja2.

    judge.py                        rewrites vectors.json from the templates beside this script
    judge.py --out FILE DIR...      judges all *.jinja files (and the templates of *.gguf files) under DIR...
                                    then: LETHE_TEMPLATE_VECTORS=FILE cargo test --release -p chat_template
    judge.py --check                compares vectors.json with what jinja2 says now, and fails if they differ
"""

import argparse
import datetime
import json
import pathlib
import struct
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).resolve().parent
DATE = datetime.datetime(2026, 2, 7)
BOS, EOS = "<|bos|>", "<|eos|>"


class Raised(jinja2.exceptions.TemplateError):
    """What raise_exception raises; its own type, because jinja2's other errors are TemplateErrors too."""


class Generation(jinja2.ext.Extension):
    """The tag {% generation %} of transformers: a call block that writes its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _body(self, context, caller):
        return caller()


def compile_template(source):
    def raise_exception(message):
        raise Raised(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = DATE.strftime
    return environment.from_string(source)


def render(template, conversation, add_generation_prompt):
    variables = dict(conversation.get("extra") or {})
    variables.update(
        messages=json.loads(json.dumps(conversation["messages"])),
        tools=conversation.get("tools"),
        documents=None,
        add_generation_prompt=add_generation_prompt,
        bos_token=BOS,
        eos_token=EOS,
    )
    try:
        return {"text": template.render(**variables)}
    except Raised as raised:
        return {"raised": str(raised.message)}
    except Exception as error:  # whatever Python raises there is a failure of the template with this conversation
        return {"failed": type(error).__name__}


def judge(name, source, conversations):
    try:
        template = compile_template(source)
    except jinja2.exceptions.TemplateError as error:
        return {"name": name, "compile": type(error).__name__}
    cases = [
        {"conversation": conversation["name"], "generation": generation, **render(template, conversation, generation)}
        for conversation in conversations
        for generation in (False, True)
    ]
    return {"name": name, "cases": cases}


def gguf_template(path):
    """The text under tokenizer.chat_template, found without reading the tables before it."""
    key = b"tokenizer.chat_template" + struct.pack("<I", 8)
    head = path.open("rb").read(64 << 20)
    at = head.find(struct.pack("<Q", 23) + key)
    if at < 0:
        return None
    at += 8 + len(key)
    (length,) = struct.unpack_from("<Q", head, at)
    return head[at + 8 : at + 8 + length].decode()


def sources(directories):
    for directory in directories:
        directory = pathlib.Path(directory)
        files = [directory] if directory.is_file() else sorted(directory.rglob("*"))
        for path in files:
            if path.suffix in (".jinja", ".jinja2"):
                yield path.name, path.read_text(encoding="utf-8")
            elif path.suffix == ".gguf" and (source := gguf_template(path)) is not None:
                yield path.name, source


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="*", metavar="DIR")
    parser.add_argument("--out", metavar="FILE")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if bool(arguments.directories) != bool(arguments.out):
        parser.error("DIR and --out belong together")
    conversations = json.loads((HERE / "conversations.json").read_text(encoding="utf-8"))
    ours = not arguments.directories
    templates = []
    for name, source in sources(arguments.directories or [HERE]):
        judged = judge(name, source, conversations)
        if ours and "compile" in judged:
            sys.exit(f"{name} does not compile: {judged['compile']}")
        # Our own templates are in the tree; those of others travel with the verdict and stay out of it.
        templates.append(judged if ours else {**judged, "source": source})
    verdict = {"date": DATE.strftime("%Y-%m-%d"), "bos_token": BOS, "eos_token": EOS, "templates": templates}
    text = json.dumps(verdict, ensure_ascii=False, indent=1) + "\n"
    out = pathlib.Path(arguments.out or HERE / "vectors.json")
    if arguments.check:
        if out.read_text(encoding="utf-8") != text:
            sys.exit(f"{out} differs from what jinja2 {jinja2.__version__} renders")
        return
    out.write_text(text, encoding="utf-8")
    print(f"{len(templates)} templates, {len(conversations)} conversations, jinja2 {jinja2.__version__}: {out}")


if __name__ == "__main__":
    main()
