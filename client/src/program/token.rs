//! `lethe token new`

use deployment::Rule;
use serde_json::json;

use super::{arguments::TokenNewArguments, speak};
use crate::{
    error::{Error, UsageError},
    token::Token,
};

/// Makes a token and prints it once, with the lines for the deployment document.
///
/// # Errors
/// [`UsageError::TokenName`] for a name that a document cannot hold.
pub fn run(arguments: &TokenNewArguments) -> Result<(), Error> {
    let name = &arguments.name;
    if !Rule::TokenName.accepts(name) {
        return Err(UsageError::TokenName(Rule::TokenName.allowed()).into());
    }
    let token = Token::random().map_err(UsageError::Random)?;
    let (text, sha256) = (token.secret(), token.sha256_hex().map_err(UsageError::Token)?);
    if arguments.json {
        return speak::answer_json(&json!({"name": name, "token": text, "sha256": sha256}));
    }
    speak::answer(&format!(
        "{text}\n\n# for the deployment document:\n[[clients.tokens]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n"
    ))?;
    speak::note("the token is shown this once; whoever has it may ask");
    Ok(())
}
