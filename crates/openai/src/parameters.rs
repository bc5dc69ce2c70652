//! Parameters that both endpoints share.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::fields::{Field, Fields};
use crate::limits::{Limits, MAX_LOGIT_BIAS, MAX_METADATA, MAX_STOP_BYTES, MAX_TEXT_FIELD_BYTES};

/// Fields that OpenAI programs routinely send and that have no effect on the answer: accepted, checked for their type,
/// and dropped. `store` only as false, `service_tier` only as `auto` or `default`, `provider` only with `aci_verified`.
pub const WITHOUT_EFFECT: [&str; 8] = [
    "user",
    "metadata",
    "provider",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "parallel_tool_calls",
];

/// How an answer is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// `stream_options.include_usage`: a last chunk with the token counts.
    pub include_usage: bool,
}

/// Everything about an answer but the prompt, checked against its ranges.
#[derive(Clone, PartialEq)]
pub struct Parameters {
    /// Most tokens of the answer, from 1 to [`Limits::max_tokens`], which is the default.
    pub max_tokens: u32,
    /// 0 to [`Limits::max_temperature`], 0 is greedy; default 1.
    pub temperature: f32,
    /// 0 to 1; default 1, which switches it off.
    pub top_p: f32,
    /// 0 to 2147483647; default 0, which switches it off.
    pub top_k: u32,
    /// 0 to 1; default 0, which switches it off.
    pub min_p: f32,
    /// Seed of the sampler, any integer of 64 bits; `None`: drawn at random.
    pub seed: Option<u64>,
    /// -2 to 2; default 0.
    pub presence_penalty: f32,
    /// -2 to 2; default 0.
    pub frequency_penalty: f32,
    /// 0.1 to 2; default 1, which switches it off.
    pub repeat_penalty: f32,
    /// Token id and bias from -100 to 100, in the order of the ids' text.
    pub logit_bias: Vec<(u32, f32)>,
    /// Strings that end the answer and are not part of it.
    pub stop: Vec<Zeroizing<String>>,
    /// Extension: go on after an end-of-generation token.
    pub ignore_eos: bool,
    /// Alternatives to report for each token; `None`: no log probabilities.
    pub logprobs: Option<u32>,
    /// `None`: the answer comes in one piece.
    pub stream: Option<Stream>,
}

impl fmt::Debug for Parameters {
    /// Leaves out `stop` and `logit_bias`: they are a client's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters").field("max_tokens", &self.max_tokens).field("stream", &self.stream).finish()
    }
}

impl Parameters {
    /// Takes the shared fields out of `fields`. `logprobs` has another form on each endpoint and is read there.
    pub(crate) fn read(fields: &mut Fields, limits: &Limits, logprobs: Option<u32>) -> Result<Self, Refusal> {
        read_without_effect(fields)?;
        let number = |fields: &mut Fields, name: &str, range, default| {
            fields.take(name).map_or(Ok(default), |field| field.number(range))
        };
        if let Some(n) = fields.take("n") {
            require_one(n)?;
        }
        Ok(Self {
            max_tokens: read_max_tokens(fields, limits)?,
            temperature: number(
                fields,
                "temperature",
                0.0..=limits.max_temperature,
                1.0_f32.min(limits.max_temperature),
            )?,
            top_p: number(fields, "top_p", 0.0..=1.0, 1.0)?,
            top_k: fields.take("top_k").map_or(Ok(0), |field| field.integer(0..=i32::MAX.cast_unsigned()))?,
            min_p: number(fields, "min_p", 0.0..=1.0, 0.0)?,
            seed: fields.take("seed").map(Field::bits_64).transpose()?,
            presence_penalty: number(fields, "presence_penalty", -2.0..=2.0, 0.0)?,
            frequency_penalty: number(fields, "frequency_penalty", -2.0..=2.0, 0.0)?,
            repeat_penalty: number(fields, "repeat_penalty", 0.1..=2.0, 1.0)?,
            logit_bias: fields.take("logit_bias").map_or(Ok(Vec::new()), read_logit_bias)?,
            stop: fields.take("stop").map_or(Ok(Vec::new()), |field| read_stop(field, limits.max_stop))?,
            ignore_eos: fields.take("ignore_eos").map_or(Ok(false), Field::boolean)?,
            logprobs,
            stream: read_stream(fields)?,
        })
    }
}

/// Accepts the number 1 and nothing else.
pub(crate) fn require_one(field: Field) -> Result<(), Refusal> {
    let unsupported = field.unsupported_value("1");
    match field.integer(1..=u32::MAX)? {
        1 => Ok(()),
        _ => Err(unsupported),
    }
}

/// Accepts `false` and nothing else.
pub(crate) fn require_false(field: Field) -> Result<(), Refusal> {
    let unsupported = field.unsupported_value("false");
    if field.boolean()? { Err(unsupported) } else { Ok(()) }
}

fn read_without_effect(fields: &mut Fields) -> Result<(), Refusal> {
    for name in ["user", "safety_identifier", "prompt_cache_key"] {
        fields.take(name).map(|field| field.short_string(MAX_TEXT_FIELD_BYTES)).transpose()?;
    }
    fields.take("metadata").map_or(Ok(()), read_metadata)?;
    fields.take("provider").map_or(Ok(()), read_provider)?;
    fields.take("store").map_or(Ok(()), require_false)?;
    fields.take("parallel_tool_calls").map(Field::boolean).transpose()?;
    if let Some(tier) = fields.take("service_tier") {
        match tier.as_str() {
            Some("auto" | "default") => {}
            Some(_) => return Err(tier.unsupported_value("\"auto\" or \"default\"")),
            None => return Err(tier.wrong_type("a string")),
        }
    }
    Ok(())
}

/// What ACI lets a client demand of whoever serves it (`spec/aci.md`, constraints in the request body). A verified service is what this one
/// is; sessions with services behind it there are none, and a client that insists on one is told so.
fn read_provider(field: Field) -> Result<(), Refusal> {
    let mut provider = field.object()?;
    provider.take("aci_verified").map(Field::boolean).transpose()?;
    if let Some(sessions) = provider.take("aci_session_ids") {
        let refusal = Refusal::Session { param: sessions.path().to_owned() };
        sessions.array()?;
        return Err(refusal);
    }
    provider.finish()
}

fn read_metadata(field: Field) -> Result<(), Refusal> {
    let crowded = field.out_of_range(format!("an object of at most {MAX_METADATA} entries"));
    let entries = field.entries()?;
    if entries.len() > MAX_METADATA {
        return Err(crowded);
    }
    for (_, value) in entries {
        value.short_string(MAX_TEXT_FIELD_BYTES)?;
    }
    Ok(())
}

fn read_max_tokens(fields: &mut Fields, limits: &Limits) -> Result<u32, Refusal> {
    let read = |field: Option<Field>| field.map(|field| field.integer(1..=limits.max_tokens)).transpose();
    let (old, new) = (read(fields.take("max_tokens"))?, read(fields.take("max_completion_tokens"))?);
    match (old, new) {
        (Some(_), Some(_)) => Err(Refusal::Conflict {
            param: "max_tokens".to_owned(),
            rule: "and max_completion_tokens exclude each other",
        }),
        (Some(tokens), None) | (None, Some(tokens)) => Ok(tokens),
        (None, None) => Ok(limits.max_tokens),
    }
}

fn read_logit_bias(field: Field) -> Result<Vec<(u32, f32)>, Refusal> {
    let crowded = field.out_of_range(format!("an object of at most {MAX_LOGIT_BIAS} entries"));
    let entries = field.entries()?;
    if entries.len() > MAX_LOGIT_BIAS {
        return Err(crowded);
    }
    entries
        .into_iter()
        .map(|(name, value)| {
            // one spelling a token, so that two members cannot mean the same one
            let token = name.parse::<u32>().ok().filter(|token| token.to_string() == name);
            let token = token.ok_or_else(|| value.out_of_range("under the id of a token".to_owned()))?;
            Ok((token, value.number(-100.0..=100.0)?))
        })
        .collect()
}

fn read_stop(field: Field, most: u32) -> Result<Vec<Zeroizing<String>>, Refusal> {
    let crowded = field.out_of_range(format!("a string or an array of at most {most} strings"));
    let items = match (field.is_string(), field.is_array()) {
        (true, _) => vec![field],
        (_, true) => field.array()?,
        _ => return Err(field.wrong_type("a string or an array of strings")),
    };
    if items.len() > usize::try_from(most).unwrap_or(usize::MAX) {
        return Err(crowded);
    }
    items
        .into_iter()
        .map(|item| {
            let empty = item.out_of_range("a string that is not empty".to_owned());
            let text = item.short_string(MAX_STOP_BYTES)?;
            if text.is_empty() { Err(empty) } else { Ok(text) }
        })
        .collect()
}

fn read_stream(fields: &mut Fields) -> Result<Option<Stream>, Refusal> {
    let on = fields.take("stream").map_or(Ok(false), Field::boolean)?;
    let Some(options) = fields.take("stream_options") else {
        return Ok(on.then_some(Stream { include_usage: false }));
    };
    if !on {
        return Err(Refusal::Conflict { param: options.path().to_owned(), rule: "needs stream to be true" });
    }
    let mut options = options.object()?;
    let include_usage = options.take("include_usage").map_or(Ok(false), Field::boolean)?;
    options.refuse_unsupported(&["include_obfuscation"])?;
    options.finish()?;
    Ok(Some(Stream { include_usage }))
}
