//! An appliance of this machine behind a UNIX socket.

use lethe::{
    appliance::Appliance,
    error::{Error, Refusal},
};

use crate::{
    fake::{Fake, options},
    reply::Reply,
};

#[tokio::test]
async fn a_local_appliance_is_asked_over_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inference.sock");
    let state = Fake::local(&path, vec![Reply::Whole("local")]);
    let mut options = options(&format!("unix:{}", path.display()));
    assert!(matches!(Appliance::open(&options).await.err(), Some(Error::Refused(Refusal::NoTee))));
    options.trust.allow_no_tee = true;
    let appliance = Appliance::open(&options).await.unwrap();
    assert_eq!(appliance.verified().pin(), None);
    assert_eq!(appliance.models().await.unwrap(), ["test/model"]);
    assert_eq!(state.asked.lock().unwrap().last().unwrap().headers["host"], "localhost");
}
