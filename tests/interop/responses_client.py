"""OpenAI's responses through `lethe proxy`, by the OpenAI Python client: what works, and what is refused.

usage: responses_client.py BASE_URL MODEL
"""

import sys

import openai

base_url, model = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0, timeout=120)
passed = 0


def check(name, holds):
    """Counts a check, or ends the run with its name."""
    global passed
    if not holds:
        sys.exit(f"failed: {name}")
    passed += 1


def refused(name, kind, call, param=None):
    """Demands that a call ends in the client's own exception for that refusal."""
    try:
        call()
    except kind as error:
        check(f"{name}: param {error.param}", param is None or error.param == param)
        return
    sys.exit(f"failed: {name} was not refused")


def ask(**arguments):
    return client.responses.create(**{"model": model, "input": "Say hello.", "max_output_tokens": 16, "temperature": 0, **arguments})


response = ask()
text = response.output_text
check("a response has text", response.object == "response" and text)
check("it says how it ended", response.status == "completed" or response.incomplete_details.reason == "max_output_tokens")
check("it counts tokens", response.usage.input_tokens > 0 and response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens)
check("it says that nothing is stored", response.model_extra.get("store", getattr(response, "store", None)) is False)
check("it is the same answer as a chat completion", text == client.chat.completions.create(
    model=model, messages=[{"role": "user", "content": "Say hello."}], max_tokens=16, temperature=0).choices[0].message.content)

events = list(ask(stream=True))
names = [event.type for event in events]
check("a stream begins as it should", names[:4] == ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"])
check("and ends as it should", names[-4:-1] == ["response.output_text.done", "response.content_part.done", "response.output_item.done"] and names[-1] in ("response.completed", "response.incomplete"))
check("its numbers are in order", [event.sequence_number for event in events] == list(range(len(events))))
pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
check("it carries the same greedy text", len(pieces) > 1 and "".join(pieces) == text)
check("its last event has the whole response", events[-1].response.output_text == text and events[-1].response.usage == response.usage)

with client.responses.stream(model=model, input="Say hello.", max_output_tokens=16, temperature=0) as stream:
    said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
check("the client's own stream helper reads it", said == text)

more = ask(instructions="Answer in French.", metadata={"k": "v"}, store=False, user="u")
check("instructions reach the model", more.usage.input_tokens > response.usage.input_tokens)
check("metadata comes back", more.metadata == {"k": "v"})
talk = [{"role": "user", "content": "Say hello."}] + [item.to_dict() for item in response.output] + [{"role": "user", "content": "Again."}]
check("an answer comes back in a conversation", ask(input=talk).usage.input_tokens > response.usage.input_tokens)

refused("a response of before", openai.BadRequestError, lambda: ask(previous_response_id="resp_1"), "previous_response_id")
refused("storing", openai.BadRequestError, lambda: ask(store=True), "store")
refused("tools", openai.BadRequestError, lambda: ask(tools=[{"type": "web_search"}]), "tools")
refused("a format", openai.BadRequestError, lambda: ask(text={"format": {"type": "json_object"}}), "text.format")
refused("an unknown member", openai.BadRequestError, lambda: ask(extra_body={"no_such_field": 1}), "no_such_field")
refused("a temperature out of range", openai.BadRequestError, lambda: ask(temperature=99), "temperature")
refused("an unknown model", openai.NotFoundError, lambda: ask(model="no-such-model"))
refused("an unknown model, streamed", openai.NotFoundError, lambda: ask(model="no-such-model", stream=True))
refused("a stored response", openai.NotFoundError, lambda: client.responses.retrieve("resp_1"))

print(f"openai {openai.__version__} (Python, responses): {passed} passed, 0 failed", file=sys.stderr)
