//! From arguments to options, and what is said before the first prompt leaves.

use std::{
    error::Error as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{
    arguments::{ApplianceArguments, AppliancesArguments, ConnectionArguments, TokenArguments},
    files, speak,
    trust::{self, TrustArguments},
};
use crate::{
    address::Address,
    appliance::{Attested, Options},
    attestation::Verified,
    collateral::Library,
    error::{Error, UsageError},
    pin::SpkiPin,
    retry::{Notice, RetryPolicy},
    sealed::Wire,
    token::Token,
};

/// Longest file that may hold a token, in bytes.
const MAX_TOKEN_FILE_BYTES: usize = 4096;

/// What the arguments ask for.
///
/// # Errors
/// [`UsageError`].
pub fn options(arguments: &ApplianceArguments, token: Option<&TokenArguments>) -> Result<Options, Error> {
    let mut options = reach(&arguments.url, &arguments.connection, &arguments.trust)?;
    options.token = token.map(read_token).transpose()?.flatten();
    Ok(options)
}

/// The same without a token.
///
/// # Errors
/// [`UsageError`].
pub fn reach(url: &str, connection: &ConnectionArguments, trusted: &TrustArguments) -> Result<Options, Error> {
    let address: Address = url.parse().map_err(UsageError::Address)?;
    let pin = pin(connection)?;
    if pin.is_some() && matches!(address, Address::Unix(_)) {
        return Err(UsageError::PinWithoutTls.into());
    }
    let tunnel = connection.via.as_deref().map(str::parse).transpose().map_err(UsageError::Tunnel)?;
    if tunnel.is_some() && matches!(address, Address::Unix(_)) {
        return Err(UsageError::ViaWithoutTls.into());
    }
    let (trust, endorsements) = trust::load(trusted)?;
    let mut options = Options::new(address, trust);
    options.pin = pin;
    options.tunnel = tunnel;
    // Who only looks at an appliance sends it nothing that could be sealed.
    options.wire = Wire::Tls;
    options.endorsements = endorsements;
    options.library = Some(Library::of_user(!trusted.offline)?);
    options.patience.silence = Duration::from_secs(connection.timeout.into());
    options.retry = RetryPolicy {
        until: connection.wait.map(|seconds| Instant::now() + Duration::from_secs(seconds.into())),
        notice: Some(notice(&options)),
        ..RetryPolicy::default()
    };
    Ok(options)
}

/// The same for several appliances.
///
/// # Errors
/// [`UsageError`]; a pin for several and an appliance named twice are none that anybody means.
pub fn reach_all(arguments: &AppliancesArguments) -> Result<Vec<Options>, Error> {
    if arguments.urls.len() > 1 && arguments.connection.pin.is_some() {
        return Err(UsageError::PinForSeveral.into());
    }
    let mut all: Vec<Options> = Vec::new();
    for url in &arguments.urls {
        let options = reach(url, &arguments.connection, &arguments.trust)?;
        if all.iter().any(|other| other.address == options.address) {
            return Err(UsageError::NamedTwice { address: options.address.to_string() }.into());
        }
        all.push(options);
    }
    Ok(all)
}

/// The key that is demanded.
///
/// # Errors
/// [`UsageError::Pin`].
pub fn pin(connection: &ConnectionArguments) -> Result<Option<SpkiPin>, UsageError> {
    connection.pin.as_deref().map(str::parse).transpose().map_err(UsageError::Pin)
}

/// Says why the program waits, once for each reason.
fn notice(options: &Options) -> Notice {
    let address = options.address.to_string();
    let said = Mutex::new(String::new());
    Arc::new(move |error, _wait| {
        let reason = error.to_string();
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != reason {
            speak::note(&format!("trying {address} again: {reason}"));
            *said = reason;
        }
    })
}

/// The token that the arguments name, or the environment.
///
/// # Errors
/// [`UsageError`].
pub fn read_token(arguments: &TokenArguments) -> Result<Option<Token>, Error> {
    let text = match arguments {
        TokenArguments { token: Some(token), .. } => Zeroizing::new(token.clone()),
        TokenArguments { token_file: Some(path), .. } => files::read_secret(path, MAX_TOKEN_FILE_BYTES)?,
        _ => match std::env::var("LETHE_TOKEN") {
            Ok(token) if !token.is_empty() => Zeroizing::new(token),
            _ => return Ok(None),
        },
    };
    Ok(Some(text.trim().parse::<Token>().map_err(UsageError::Token)?))
}

/// Says why something that vendors say about the platform is missing.
pub fn tell_missing(attested: &Attested) {
    for problem in &attested.missing {
        speak::note(&format!("{problem}{}", problem.source().map(|cause| format!(": {cause}")).unwrap_or_default()));
    }
}

/// Says what a user has to know of an appliance that was accepted.
pub fn announce(options: &Options, verified: &Verified) {
    if verified.is_proven_by_hardware() {
        return;
    }
    if let (Some(pin), None) = (verified.pin(), options.pin) {
        speak::note(&format!("TLS key {pin}, taken because it was seen first; demand it with --pin"));
    }
    let why = if options.trust.allow_no_tee { "you said --allow-no-tee" } else { "DEVELOPMENT ONLY, by your policy" };
    speak::warning(&format!("platform `{}`: no hardware proves what this appliance is; {why}", verified.platform()));
}
