"""The OpenAI Python client against a running server: what works, and what is refused.

usage: openai_client.py BASE_URL MODEL [--token-checked] [--one-sequence]   (token in OPENAI_API_KEY, trust in SSL_CERT_FILE)

--token-checked: the server wants the token. --one-sequence: the server answers one request at a time, in streams of half a minute;
only hanging up is tested then.
"""

import sys

import openai

from hanging_up import HANG_UPS, Hangers

base_url, model = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, max_retries=0, timeout=120)
question = [{"role": "user", "content": "Say hello."}]
passed = 0


def check(name, holds):
    """Counts a check, or ends the run with its name."""
    global passed
    if not holds:
        sys.exit(f"failed: {name}")
    passed += 1


def refused(name, kind, call, code=None, param=None):
    """Demands that a call ends in the client's own exception for that refusal."""
    try:
        call()
    except kind as error:
        check(f"{name}: code {error.code}", code is None or error.code == code)
        check(f"{name}: param {error.param}", param is None or error.param == param)
        return
    sys.exit(f"failed: {name} was not refused")


def chat(**arguments):
    return client.chat.completions.create(**{"model": model, "messages": question, "max_tokens": 16, "temperature": 0, **arguments})


def long_stream():
    """A stream that is not over when its reader goes away: as long as the server allows."""
    return chat(stream=True, max_tokens=4096, extra_body={"ignore_eos": True})


def short_answer(**arguments):
    return chat(max_tokens=1, **arguments).choices


hangers = Hangers(check, refused, long_stream, short_answer)

if "--one-sequence" in sys.argv:
    hangers.one_sequence(openai.APITimeoutError)
    print(f"openai {openai.__version__} (Python), hanging up: {passed} passed, 0 failed", file=sys.stderr)
    sys.exit()

check("the model is listed", model in [entry.id for entry in client.models.list()])
check("the model is found by id", client.models.retrieve(model).id == model)

answer = chat()
text = answer.choices[0].message.content
check("an answer has text", isinstance(text, str))
check("its role is assistant", answer.choices[0].message.role == "assistant")
check("it names a finish reason", answer.choices[0].finish_reason in ("stop", "length"))
check("usage adds up", answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens)
check("max_tokens holds", answer.usage.completion_tokens <= 16)

pieces, usage, finish = [], None, None
for chunk in chat(stream=True, stream_options={"include_usage": True}):
    if chunk.usage:
        usage = chunk.usage
    for choice in chunk.choices:
        pieces.append(choice.delta.content or "")
        finish = choice.finish_reason or finish
check("a stream carries the same greedy text", "".join(pieces) == text)
check("a stream ends with a reason", finish in ("stop", "length"))
check("a stream ends with usage", usage is not None and usage.completion_tokens == answer.usage.completion_tokens)

sampled = [chat(temperature=1.0, seed=7).choices[0].message.content for _ in range(2)]
check("a seed repeats an answer", sampled[0] == sampled[1])

scored = chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
check("each token has its log probability", len(scored) >= 1 and all(entry.logprob <= 0 for entry in scored))
check("and three alternatives, best first", all(len(entry.top_logprobs) == 3 for entry in scored))

plain = client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, temperature=0)
check("a raw completion has text", isinstance(plain.choices[0].text, str))
streamed = client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, temperature=0, stream=True)
check("and streams the same", "".join(chunk.choices[0].text for chunk in streamed if chunk.choices) == plain.choices[0].text)

check("fields without effect are accepted", chat(user="u", store=False, service_tier="auto", metadata={"k": "v"}).choices)
hangers.hang_up(HANG_UPS)

refused("unknown model", openai.NotFoundError, lambda: chat(model="no-such-model"), code="model_not_found")
refused("temperature out of range", openai.BadRequestError, lambda: chat(temperature=99), param="temperature")
refused("n above 1", openai.BadRequestError, lambda: chat(n=2), param="n")
refused("unknown field", openai.BadRequestError, lambda: chat(extra_body={"no_such_field": 1}), param="no_such_field")
refused("tools", openai.BadRequestError, lambda: chat(tools=[{"type": "function", "function": {"name": "f"}}]), param="tools")
long = [{"role": "user", "content": "word " * 20000}]
refused("prompt over the context", openai.BadRequestError, lambda: chat(messages=long), code="context_length_exceeded")
if "--token-checked" in sys.argv:
    stranger = openai.OpenAI(base_url=base_url, api_key="lth_" + "A" * 43, max_retries=0)
    refused("wrong token", openai.AuthenticationError, lambda: stranger.models.list())

print(f"openai {openai.__version__} (Python): {passed} passed, 0 failed", file=sys.stderr)
