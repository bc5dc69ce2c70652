//! `lethe chat`

use std::io::{self, BufRead, IsTerminal, Read};

use rustyline::{DefaultEditor, error::ReadlineError};
use serde_json::json;

use super::{arguments::ChatArguments, session, speak, wires};
use crate::{
    appliance::{Appliance, Options},
    chat::{Ending, Message, Question, Role},
    error::{Error, Refusal, ServerError, UsageError},
    exit, terminal,
};

/// Longest question that is read from standard input, in bytes.
const MAX_QUESTION_BYTES: u64 = 16 * 1024 * 1024;

const HELP: &str = "\
/reset   forget the conversation so far
/quit    leave; Ctrl-D does too
Ctrl-C   stop the answer that is coming
";

/// Verifies, then asks once or talks.
///
/// # Errors
/// The refusal; for a single question whatever prevents its answer.
pub async fn run(arguments: ChatArguments) -> Result<(), Error> {
    let mut options = session::options(&arguments.appliance, Some(&arguments.token))?;
    arguments.wires.apply(&mut options)?;
    let question = arguments.ask.as_deref().map(read_question).transpose()?;
    let appliance = Appliance::open(&options).await?;
    session::announce(&options, appliance.verified());
    wires::announce(&appliance);
    let model = match &arguments.model {
        Some(model) => model.clone(),
        None => appliance.models().await?.into_iter().next().ok_or(ServerError::NoModel)?,
    };
    let mut conversation = Conversation::new(appliance, options, model, &arguments);
    match question {
        Some(text) if arguments.json => conversation.ask_for_json(text).await,
        Some(text) => conversation.ask(text).await,
        None => conversation.talk().await,
    }
}

fn read_question(ask: &str) -> Result<String, UsageError> {
    let mut text = String::new();
    if ask == "-" {
        io::stdin().lock().take(MAX_QUESTION_BYTES).read_to_string(&mut text).map_err(UsageError::Terminal)?;
    } else {
        ask.clone_into(&mut text);
    }
    if text.trim().is_empty() { Err(UsageError::NoQuestion) } else { Ok(text) }
}

struct Conversation {
    appliance: Appliance,
    options: Options,
    question: Question,
    stream: bool,
    /// Messages that `/reset` keeps.
    instructions: usize,
}

impl Conversation {
    fn new(appliance: Appliance, options: Options, model: String, arguments: &ChatArguments) -> Self {
        let system = arguments.system.iter().cloned();
        let messages: Vec<_> = system.map(|content| Message { role: Role::System, content }).collect();
        Self {
            appliance,
            options,
            stream: !arguments.no_stream,
            instructions: messages.len(),
            question: Question {
                model,
                messages,
                max_tokens: arguments.max_tokens,
                temperature: arguments.temperature,
                seed: arguments.seed,
            },
        }
    }

    fn say(&mut self, role: Role, content: String) {
        self.question.messages.push(Message { role, content });
    }

    /// Verifies anew if an answer has named another keyset: no question leaves before that.
    async fn renew(&mut self) -> Result<(), Error> {
        if self.appliance.is_outdated() {
            self.appliance = self.appliance.renewed(&self.options).await?;
            speak::note(&format!("verified again: the keyset is now {}", self.appliance.verified().keyset_digest()));
        }
        Ok(())
    }

    /// Asks and prints the answer, all of it or what came of it.
    async fn ask(&mut self, text: String) -> Result<(), Error> {
        self.renew().await?;
        self.say(Role::User, text);
        let mut answer = String::new();
        let mut result = self.print_answer(&mut answer).await;
        if matches!(result, Err(Error::Refused(Refusal::KeysetChanged))) && answer.is_empty() {
            // The keys changed between two attempts at this question.
            self.renew().await?;
            result = self.print_answer(&mut answer).await;
        }
        if !answer.ends_with('\n') && (result.is_ok() || !answer.is_empty()) {
            speak::answer("\n")?;
        }
        self.remember(answer);
        wires::tell_missing(&self.appliance);
        if result?.finish_reason.as_deref() == Some("length") {
            speak::note("the answer was cut at its limit of tokens (--max-tokens, or the context is full)");
        }
        Ok(())
    }

    async fn print_answer(&self, answer: &mut String) -> Result<Ending, Error> {
        if !self.stream {
            let (text, ending) = self.appliance.answer(&self.question).await?;
            speak::answer(&text)?;
            *answer = text;
            return Ok(ending);
        }
        let mut stream = self.appliance.answer_stream(&self.question).await?;
        while let Some(piece) = stream.next().await? {
            speak::answer(&piece)?;
            answer.push_str(&piece);
        }
        Ok(stream.finish().await)
    }

    /// An answer the user saw belongs to the conversation, even a piece of one; a question without any does not.
    fn remember(&mut self, answer: String) {
        if answer.is_empty() {
            self.question.messages.pop();
        } else {
            self.say(Role::Assistant, answer);
        }
    }

    async fn ask_for_json(&mut self, text: String) -> Result<(), Error> {
        self.renew().await?;
        self.say(Role::User, text);
        let (answer, ending) = if self.stream {
            let mut answer = String::new();
            let mut stream = self.appliance.answer_stream(&self.question).await?;
            while let Some(piece) = stream.next().await? {
                answer.push_str(&piece);
            }
            (answer, stream.finish().await)
        } else {
            self.appliance.answer(&self.question).await?
        };
        let verified = self.appliance.verified();
        speak::answer_json(&json!({
            "answer": answer,
            "finish_reason": ending.finish_reason,
            "usage": ending.usage,
            "model": self.question.model,
            "appliance": self.appliance.address().to_string(),
            "platform": verified.platform(),
            "tls_key": verified.pin().map(|pin| pin.to_string()),
            "keyset_digest": verified.keyset_digest().to_string(),
            "transport": self.appliance.transport(),
        }))
    }

    async fn talk(&mut self) -> Result<(), Error> {
        let interactive = io::stdin().is_terminal();
        if interactive {
            speak::note(&format!(
                "asking {}; /help says what else one can type",
                terminal::one_line(&self.question.model, 200)
            ));
        }
        let mut lines = Lines::new(interactive)?;
        loop {
            let (back, line) = lines.next().await?;
            lines = back;
            let Some(line) = line else { return Ok(()) };
            match line.trim() {
                "" => {}
                "/quit" | "/exit" => return Ok(()),
                "/help" => speak::answer(HELP)?,
                "/reset" => self.question.messages.truncate(self.instructions),
                command if command.starts_with('/') && !command.contains(char::is_whitespace) => {
                    speak::warning("there is no such command; /help lists them");
                }
                text => self.take_turn(text.to_owned(), interactive).await?,
            }
        }
    }

    /// One question of a conversation. Ctrl-C ends the answer, and most errors end no more than that.
    async fn take_turn(&mut self, text: String, interactive: bool) -> Result<(), Error> {
        if !interactive {
            return self.ask(text).await;
        }
        let messages = self.question.messages.len();
        tokio::select! {
            result = self.ask(text) => match result {
                Err(error @ (Error::Network(_) | Error::Server(_))) => {
                    speak::error(&error, exit::help(&error));
                    Ok(())
                }
                other => other,
            },
            _ = tokio::signal::ctrl_c() => {
                // The half answer goes with its question: the next one starts where this one did.
                self.question.messages.truncate(messages);
                speak::answer("\n")?;
                speak::note("stopped");
                Ok(())
            }
        }
    }
}

/// Lines from the user: edited at a terminal, plain otherwise. The history is in memory alone.
enum Lines {
    Editor(Box<DefaultEditor>),
    Plain,
}

impl Lines {
    fn new(interactive: bool) -> Result<Self, Error> {
        if !interactive {
            return Ok(Self::Plain);
        }
        DefaultEditor::new().map(|editor| Self::Editor(Box::new(editor))).map_err(no_terminal)
    }

    /// The next line, or `None` at the end. Reading blocks, so it happens on a thread of its own.
    async fn next(self) -> Result<(Self, Option<String>), Error> {
        let read = tokio::task::spawn_blocking(move || match self {
            Self::Editor(mut editor) => {
                let line = edit(&mut editor)?;
                Ok((Self::Editor(editor), line))
            }
            Self::Plain => Ok((Self::Plain, read_line()?)),
        });
        read.await.map_err(|_| UsageError::Terminal(io::Error::other("reading a line failed")))?
    }
}

fn edit(editor: &mut DefaultEditor) -> Result<Option<String>, Error> {
    loop {
        match editor.readline("> ") {
            Ok(line) => {
                // A history that does not take a line loses a convenience.
                let _ = editor.add_history_entry(line.as_str());
                return Ok(Some(line));
            }
            Err(ReadlineError::Eof) => return Ok(None),
            Err(ReadlineError::Interrupted) => speak::note("Ctrl-D leaves"),
            Err(error) => return Err(no_terminal(error)),
        }
    }
}

fn read_line() -> Result<Option<String>, Error> {
    let mut line = String::new();
    let length = io::stdin().lock().take(MAX_QUESTION_BYTES).read_line(&mut line).map_err(UsageError::Terminal)?;
    Ok((length > 0).then_some(line))
}

fn no_terminal(error: ReadlineError) -> Error {
    let cause = match error {
        ReadlineError::Io(cause) => cause,
        other => io::Error::other(other.to_string()),
    };
    UsageError::Terminal(cause).into()
}
