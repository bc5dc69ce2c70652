"""The Anthropic Python client through `lethe proxy`: what works, and what is refused.

usage: anthropic_client.py PROXY_URL MODEL [--one-sequence]

--one-sequence: the server answers one request at a time, in streams of half a minute; only hanging up is tested then.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import anthropic

from hanging_up import HANG_UPS, Hangers

base_url, model = sys.argv[1:3]
client = anthropic.Anthropic(base_url=base_url, api_key="unused", max_retries=0, timeout=120)
question = [{"role": "user", "content": "Say hello."}]
greedy = {"temperature": 0}
passed = 0


def check(name, holds):
    """Counts a check, or ends the run with its name."""
    global passed
    if not holds:
        sys.exit(f"failed: {name}")
    passed += 1


def refused(name, kind, call, says=""):
    """Demands that a call ends in the client's own exception for that refusal."""
    try:
        call()
    except anthropic.APITimeoutError:
        check(f"{name}: no answer", kind is anthropic.APITimeoutError)
        return
    except kind as error:
        check(f"{name}: {error}", error.body["type"] == "error" and says in str(error))
        return
    sys.exit(f"failed: {name} was not refused")


def ask(**arguments):
    return client.messages.create(**{"model": model, "messages": question, "max_tokens": 16, "extra_body": greedy, **arguments})


def long_stream():
    """A stream that is not over when its reader goes away: as long as the server allows."""
    return ask(stream=True, max_tokens=4096, messages=[{"role": "user", "content": "Write a very long story."}])


def short_answer(**arguments):
    return ask(max_tokens=1, **arguments).stop_reason


hangers = Hangers(check, refused, long_stream, short_answer)

if "--one-sequence" in sys.argv:
    hangers.one_sequence(anthropic.APITimeoutError)
    print(f"anthropic {anthropic.__version__} (Python), hanging up: {passed} passed, 0 failed", file=sys.stderr)
    sys.exit()

message = ask()
text = "".join(block.text for block in message.content)
check("a message has text", message.type == "message" and message.role == "assistant" and text)
check("it names a reason to stop", message.stop_reason in ("end_turn", "max_tokens"))
check("it counts tokens", message.usage.input_tokens > 0 and 0 < message.usage.output_tokens <= 16)

with client.messages.stream(model=model, messages=question, max_tokens=16, extra_body=greedy) as stream:
    pieces = list(stream.text_stream)
    final = stream.get_final_message()
check("a stream comes in pieces", len(pieces) > 1)
check("a stream carries the same greedy text", "".join(pieces) == text)
check("its last message is the whole one", final.content[0].text == text and final.stop_reason == message.stop_reason)
check("its counts are right at the end", (final.usage.input_tokens, final.usage.output_tokens) == (message.usage.input_tokens, message.usage.output_tokens))

names = [event.type for event in ask(stream=True)]
check("events come in Anthropic's order", names[:2] == ["message_start", "content_block_start"] and names[-3:] == ["content_block_stop", "message_delta", "message_stop"])
check("and pieces are between them", set(names[2:-3]) == {"content_block_delta"})

other = ask(system="Answer in French.")
check("instructions reach the model", other.usage.input_tokens > message.usage.input_tokens)
blocks = ask(system=[{"type": "text", "text": "Answer in French.", "cache_control": {"type": "ephemeral"}}], messages=[{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}])
check("blocks of text are text", blocks.content == other.content)
talk = question + [message.to_param() if hasattr(message, "to_param") else {"role": "assistant", "content": text}, {"role": "user", "content": "Again."}]
check("an answer comes back in a conversation", ask(messages=talk).usage.input_tokens > message.usage.input_tokens)
hangers.hang_up(HANG_UPS)


def one_of_many(number):
    """Asks while others ask; every second answer streams."""
    asked = [{"role": "user", "content": f"Count from {number}."}]
    if number % 2:
        with client.messages.stream(model=model, messages=asked, max_tokens=16, extra_body=greedy) as stream:
            return stream.get_final_message().stop_reason
    return ask(messages=asked).stop_reason


with ThreadPoolExecutor(16) as pool:
    check("16 at once are answered", all(reason in ("end_turn", "max_tokens") for reason in pool.map(one_of_many, range(16))))

tool = {"name": "f", "input_schema": {"type": "object"}}
image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
refused("tools", anthropic.BadRequestError, lambda: ask(tools=[tool]), "'tools'")
refused("an image", anthropic.BadRequestError, lambda: ask(messages=[{"role": "user", "content": [image]}]), "messages.0.content.0.type")
refused("an answer to continue", anthropic.BadRequestError, lambda: ask(messages=question + [{"role": "assistant", "content": "Hel"}]), "'messages'")
refused("an unknown member", anthropic.BadRequestError, lambda: ask(extra_body={"no_such_field": 1}), "no_such_field")
refused("a temperature out of range", anthropic.BadRequestError, lambda: ask(extra_body={"temperature": 99}), "temperature")
refused("an unknown model", anthropic.NotFoundError, lambda: ask(model="no-such-model"))
refused("an unknown model, streamed", anthropic.NotFoundError, lambda: ask(model="no-such-model", stream=True))
refused("a prompt over the context", anthropic.BadRequestError, lambda: ask(messages=[{"role": "user", "content": "word " * 20000}]), "context")
refused("a count of tokens", anthropic.NotFoundError, lambda: client.messages.count_tokens(model=model, messages=question), "not counted")

print(f"anthropic {anthropic.__version__} (Python): {passed} passed, 0 failed", file=sys.stderr)
