//! Devices whose signatures let a request in: those of the document, and those that enrolled since the start.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use deployment::{Clients, Enrolment, token};
use subtle::{Choice, ConstantTimeEq as _};

use super::error::ApiError;

/// SHA-256 of a device's algorithm and key.
type DeviceId = [u8; 32];

/// What enrolled since the start: the digest of each one-time token that was shown, and the device that showed it first.
///
/// It is in memory alone. After a restart the tokens are as good as new, so a device keeps its own and shows it again.
#[derive(Default)]
pub(super) struct Devices(Mutex<HashMap<[u8; 32], DeviceId>>);

impl Devices {
    fn enrolled(&self) -> MutexGuard<'_, HashMap<[u8; 32], DeviceId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the device is accepted without a token.
    pub(super) fn knows(&self, clients: &Clients, device: &DeviceId) -> bool {
        let listed = || clients.devices.iter().any(|entry| entry.id == *device);
        match clients.enrolment {
            Enrolment::Any => true,
            Enrolment::List => listed(),
            Enrolment::Token => {
                // a token that an operator took back takes its device along
                let valid = |token: &[u8; 32]| clients.enrolments.iter().any(|entry| entry.sha256 == *token);
                listed() || self.enrolled().iter().any(|(token, enrolled)| enrolled == device && valid(token))
            }
        }
    }

    /// The digest of a token that this device may enrol with. The comparison looks at every token.
    ///
    /// # Errors
    /// [`ApiError::DeviceRefused`] for a token of another form, an unknown one, and one that another device has used.
    pub(super) fn may_enrol(&self, clients: &Clients, device: &DeviceId, shown: &[u8]) -> Result<[u8; 32], ApiError> {
        let shown = std::str::from_utf8(shown).ok().and_then(|text| token::digest(text).ok());
        let shown = shown.filter(|_| clients.enrolment == Enrolment::Token).ok_or(ApiError::DeviceRefused)?;
        let found = clients.enrolments.iter().fold(Choice::from(0), |found, token| found | token.sha256.ct_eq(&shown));
        if !bool::from(found) {
            return Err(ApiError::DeviceRefused);
        }
        match self.enrolled().get(&shown) {
            Some(used) if used != device => Err(ApiError::DeviceRefused),
            _ => Ok(shown),
        }
    }

    /// Enrols the device with a token that [`Devices::may_enrol`] gave, if no other device was faster.
    ///
    /// # Errors
    /// [`ApiError::DeviceRefused`]
    pub(super) fn enrol(&self, clients: &Clients, device: DeviceId, token: [u8; 32]) -> Result<(), ApiError> {
        let mut enrolled = self.enrolled();
        enrolled.retain(|token, _| clients.enrolments.iter().any(|entry| entry.sha256 == *token));
        match enrolled.entry(token) {
            Entry::Vacant(free) => {
                free.insert(device);
                Ok(())
            }
            Entry::Occupied(used) if *used.get() == device => Ok(()),
            Entry::Occupied(_) => Err(ApiError::DeviceRefused),
        }
    }
}

#[cfg(test)]
mod tests {
    use deployment::{Access, Device, Token};

    use super::*;

    fn clients(enrolment: Enrolment) -> Clients {
        let device = Device { name: "phone".to_owned(), id: [1; 32] };
        let sha256 = token::digest(&token::text(&[9; 32])).expect("a token");
        let enrolments = vec![Token { name: "once".to_owned(), sha256 }];
        Clients { enrolment, devices: vec![device], enrolments, ..Clients::of(Access::Device) }
    }

    fn enrol(devices: &Devices, clients: &Clients, device: u8, shown: &[u8]) -> Result<(), ApiError> {
        let token = devices.may_enrol(clients, &[device; 32], shown)?;
        devices.enrol(clients, [device; 32], token)
    }

    #[test]
    fn the_document_says_which_devices_are_known() {
        for (enrolment, listed, other) in
            [(Enrolment::Any, true, true), (Enrolment::List, true, false), (Enrolment::Token, true, false)]
        {
            let (devices, clients) = (Devices::default(), clients(enrolment));
            assert_eq!((devices.knows(&clients, &[1; 32]), devices.knows(&clients, &[2; 32])), (listed, other));
        }
    }

    #[test]
    fn a_token_enrols_the_first_device_that_shows_it_and_no_other() {
        let (devices, clients) = (Devices::default(), clients(Enrolment::Token));
        let good = token::text(&[9; 32]);
        for wrong in [&b""[..], b"\xff", b"one-time-token", token::text(&[8; 32]).as_bytes()] {
            assert!(matches!(enrol(&devices, &clients, 2, wrong), Err(ApiError::DeviceRefused)));
        }
        assert!(!devices.knows(&clients, &[2; 32]));
        assert!(enrol(&devices, &clients, 2, good.as_bytes()).is_ok());
        assert!(enrol(&devices, &clients, 2, good.as_bytes()).is_ok(), "the same device again");
        assert!(matches!(enrol(&devices, &clients, 3, good.as_bytes()), Err(ApiError::DeviceRefused)));
        assert!(devices.knows(&clients, &[2; 32]) && !devices.knows(&clients, &[3; 32]));
        // the token is asked for twice before either enrols: the faster one has it
        let (fast, slow) = (Devices::default(), token::digest(&good).expect("a token"));
        assert_eq!(fast.may_enrol(&clients, &[3; 32], good.as_bytes()).ok(), Some(slow));
        assert!(enrol(&fast, &clients, 2, good.as_bytes()).is_ok());
        assert!(matches!(fast.enrol(&clients, [3; 32], slow), Err(ApiError::DeviceRefused)));
    }

    #[test]
    fn a_token_that_is_taken_back_takes_its_device_along() {
        let (devices, mut clients) = (Devices::default(), clients(Enrolment::Token));
        enrol(&devices, &clients, 2, token::text(&[9; 32]).as_bytes()).expect("enrolled");
        clients.enrolments.clear();
        assert!(!devices.knows(&clients, &[2; 32]) && devices.knows(&clients, &[1; 32]));
    }

    #[test]
    fn where_the_document_takes_no_enrolment_a_token_enrols_nobody() {
        for enrolment in [Enrolment::Any, Enrolment::List] {
            let (devices, clients) = (Devices::default(), clients(enrolment));
            assert!(enrol(&devices, &clients, 2, token::text(&[9; 32]).as_bytes()).is_err());
        }
    }
}
