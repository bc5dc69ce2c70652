//! `lethe status`

use serde_json::json;

use super::{arguments::StatusArguments, look::Look, report::Report, session, speak};
use crate::{
    appliance::attest,
    error::{Error, ServerError},
    terminal,
};

/// Prints health and what is proven.
///
/// # Errors
/// The refusal; [`ServerError::NotReady`] if the appliance says so.
pub async fn run(arguments: StatusArguments) -> Result<(), Error> {
    let options = session::options(&arguments.appliance, None)?;
    let attested = attest(&options, None).await?;
    let report = Report::of(
        options.address.to_string(),
        &options.trust.policy_name,
        &attested.examination,
        &attested.expectation,
    );
    let look = Look::of_output();
    let appliance = match attested.into_appliance(&options) {
        Ok(appliance) => appliance,
        Err(error) => {
            if arguments.json {
                speak::answer_json(&report.json())?;
            } else {
                speak::answer_bytes(report.text(look).as_bytes())?;
            }
            return Err(error);
        }
    };
    let health = appliance.health().await?;
    if arguments.json {
        let mut value = report.json();
        if let Some(object) = value.as_object_mut() {
            object.insert("live".to_owned(), json!(health.live));
            object.insert("ready".to_owned(), json!(health.ready));
            object.insert("health".to_owned(), json!(health.more));
        }
        speak::answer_json(&value)?;
    } else {
        let yes = |state| if state { "yes" } else { "no" };
        let mut lines = look.fact("live", yes(health.live)) + &look.fact("ready", yes(health.ready));
        for (name, value) in &health.more {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            lines += &look.fact(&terminal::one_line(name, 60), &value);
        }
        speak::answer_bytes(format!("{lines}\n{}", report.text(look)).as_bytes())?;
    }
    if health.ready { Ok(()) } else { Err(ServerError::NotReady.into()) }
}
