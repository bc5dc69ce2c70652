//! Statuses are judged as Intel defines them: first level met, worst component, nothing below all levels.

use serde_json::{Value, json};

use super::{
    collateral::VerifiedCollateral,
    level::Tcb,
    pck::Platform,
    quote::{Body, Quote},
};
use crate::{Policy, Refusal, Rule, TcbStatus};

const ZERO_48: &str =
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";
pub(super) const QE_SIGNER: &str = "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5";

fn components(first: u32) -> Value {
    let mut list = vec![json!({"svn": 0}); 16];
    list[0] = json!({"svn": first});
    list[2] = json!({"svn": first});
    Value::Array(list)
}

fn level(svn: u32, status: &str) -> Value {
    json!({"tcb": {"sgxtcbcomponents": components(svn), "pcesvn": 11, "tdxtcbcomponents": components(svn)},
        "tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": status, "advisoryIDs": [format!("SA-{svn}")]})
}

pub(super) fn tcb_info() -> Value {
    let module = |levels: Value| {
        json!({"id": "TDX_01", "mrsigner": ZERO_48, "attributes": "0000000000000000",
        "attributesMask": "FFFFFFFFFFFFFFFF", "tcbLevels": levels})
    };
    json!({"id": "TDX", "version": 3, "issueDate": "", "nextUpdate": "", "fmspc": "000000000000", "pceId": "0000",
        "tcbEvaluationDataNumber": 20,
        "tdxModule": {"mrsigner": ZERO_48, "attributes": "0000000000000000", "attributesMask": "FFFFFFFFFFFFFFFF"},
        "tdxModuleIdentities": [module(json!([
            {"tcb": {"isvsvn": 5}, "tcbDate": "2025-02-01T00:00:00Z", "tcbStatus": "UpToDate"},
            {"tcb": {"isvsvn": 3}, "tcbDate": "2024-01-01T00:00:00Z", "tcbStatus": "OutOfDate", "advisoryIDs": ["SA-M"]},
        ]))],
        "tcbLevels": [level(7, "UpToDate"), level(6, "SWHardeningNeeded"), level(5, "Revoked"), level(4, "OutOfDate")]})
}

pub(super) fn qe_identity() -> Value {
    json!({"id": "TD_QE", "version": 2, "issueDate": "", "nextUpdate": "", "tcbEvaluationDataNumber": 20,
        "miscselect": "00000000", "miscselectMask": "FFFFFFFF", "attributes": "11000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000", "mrsigner": QE_SIGNER, "isvprodid": 2,
        "tcbLevels": [{"tcb": {"isvsvn": 4}, "tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": "UpToDate"},
            {"tcb": {"isvsvn": 2}, "tcbDate": "2024-01-01T00:00:00Z", "tcbStatus": "OutOfDate"}]})
}

/// What varies between the tests.
#[derive(Clone)]
struct Case {
    info: Value,
    qe: Value,
    /// SVNs of the platform and of the TDX components from the third on.
    svn: u8,
    /// Line and number of the TDX module.
    module: (u8, u8),
    qe_svn: u16,
    pce_svn: u32,
    qe_attributes: u8,
    signer_seam: u8,
}

impl Case {
    fn good() -> Self {
        Self {
            info: tcb_info(),
            qe: qe_identity(),
            svn: 7,
            module: (1, 5),
            qe_svn: 4,
            pce_svn: 11,
            qe_attributes: 0x15,
            signer_seam: 0,
        }
    }

    fn judge(&self) -> Result<Tcb, Refusal> {
        let collateral = VerifiedCollateral {
            tcb_info: serde_json::from_value(self.info.clone()).expect("TCB info"),
            qe_identity: serde_json::from_value(self.qe.clone()).expect("QE identity"),
        };
        let mut svns = [0; 16];
        (svns[0], svns[1], svns[2]) = (self.module.1, self.module.0, self.svn);
        let body = Body { tee_tcb_svn: svns, mr_signer_seam: [self.signer_seam; 48], ..empty_body() };
        let mut components = [0; 16];
        (components[0], components[2]) = (self.svn.into(), self.svn.into());
        let platform = Platform { components, pce_svn: self.pce_svn, ..platform() };
        let mut report = super::quote::QeReport {
            misc_select: [0; 4],
            attributes: [0; 16],
            mr_enclave: [0; 32],
            mr_signer: [0; 32],
            isv_prod_id: 2,
            isv_svn: self.qe_svn,
            report_data: [0; 64],
        };
        report.attributes[0] = self.qe_attributes;
        hex::decode_to_slice(QE_SIGNER, &mut report.mr_signer).expect("hexadecimal");
        Tcb::judge(&collateral, &platform, &body, &report)
    }

    fn status(&self) -> TcbStatus {
        self.judge().expect("a level").status
    }

    fn rule(&self) -> Rule {
        self.judge().expect_err("a refusal").rule()
    }
}

pub(super) fn platform() -> Platform {
    Platform {
        ppid: [0; 16],
        components: [0; 16],
        pce_svn: 0,
        pce_id: [0; 2],
        fmspc: [0; 6],
        sgx_type: 1,
        instance_id: None,
        dynamic_platform: false,
        cached_keys: false,
        smt: false,
    }
}

fn empty_body() -> Body {
    // The smallest quote up to its signature data; the reader fills the fields.
    let mut quote = vec![0; 48 + 584 + 4];
    quote[..8].copy_from_slice(&[4, 0, 2, 0, 0x81, 0, 0, 0]);
    quote[12..28].copy_from_slice(&[
        0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
    ]);
    let mut inner = vec![0; 384 + 64 + 2];
    inner.extend([5, 0, 0, 0, 0, 0]);
    let mut data = vec![0; 128];
    data.extend([6, 0]);
    data.extend(u32::try_from(inner.len()).expect("short").to_le_bytes());
    data.extend(inner);
    let length = u32::try_from(data.len()).expect("short").to_le_bytes();
    quote[48 + 584..].copy_from_slice(&length);
    quote.extend(data);
    Quote::read(&quote).expect("a form").body
}

#[test]
fn the_first_level_met_counts_and_components_lower_it() {
    let good = Case::good();
    assert_eq!(good.status(), TcbStatus::UpToDate);
    assert_eq!(Case { svn: 6, ..good.clone() }.status(), TcbStatus::SWHardeningNeeded);
    assert_eq!(Case { svn: 4, ..good.clone() }.status(), TcbStatus::OutOfDate);
    assert_eq!(Case { module: (1, 4), ..good.clone() }.status(), TcbStatus::OutOfDate, "old module");
    assert_eq!(Case { qe_svn: 3, ..good.clone() }.status(), TcbStatus::OutOfDate, "old quoting enclave");
    assert_eq!(Case { module: (1, 4), svn: 6, ..good.clone() }.judge().expect("a level").advisories, ["SA-6", "SA-M"]);
}

#[test]
fn t5_below_all_levels_is_refused() {
    let good = Case::good();
    assert_eq!(Case { svn: 3, ..good.clone() }.rule(), Rule::T5, "platform");
    assert_eq!(Case { pce_svn: 10, ..good.clone() }.rule(), Rule::T5, "PCE");
    assert_eq!(Case { module: (1, 2), ..good.clone() }.rule(), Rule::T5, "module");
    assert_eq!(Case { qe_svn: 1, ..good }.rule(), Rule::T5, "quoting enclave");
}

#[test]
fn t5_the_policy_judges_the_status() {
    let policy = |lines: &str| {
        let text = format!("name = \"test\"\nextends = \"hardware\"\n[tdx]\n{lines}\n");
        Policy::from_toml(&text).expect("a policy").tdx
    };
    let hardening = Case { svn: 6, ..Case::good() }.judge().expect("a level");
    assert_eq!(hardening.check(&policy("")), Ok(()));
    let strict = r#"tcb_statuses = { is = ["UpToDate"], because = "test" }"#;
    assert_eq!(hardening.check(&policy(strict)).expect_err("hardening").rule(), Rule::T5);
    let listed = format!("{strict}\nhardened_advisories = {{ is = [\"SA-6\"], because = \"test\" }}");
    assert_eq!(hardening.check(&policy(&listed)), Ok(()), "every advisory is on the list");
    let both = Case { svn: 6, module: (1, 4), ..Case::good() }.judge().expect("a level");
    assert_eq!(both.check(&policy(&listed)).expect_err("out of date").rule(), Rule::T5);
    let revoked = Case { svn: 5, ..Case::good() }.judge().expect("a level");
    let anything = r#"tcb_statuses = { is = ["Revoked", "UpToDate"], because = "test" }"#;
    assert_eq!(revoked.check(&policy(anything)).expect_err("revoked").rule(), Rule::T5, "no policy can allow it");
}

#[test]
fn t8_the_module_is_of_a_listed_line_and_signer() {
    let good = Case::good();
    assert_eq!(Case { module: (2, 5), ..good.clone() }.rule(), Rule::T8, "no identity for its line");
    assert_eq!(Case { signer_seam: 1, ..good.clone() }.rule(), Rule::T8);
    let mut missing = good;
    missing.info["tdxModuleIdentities"] = json!([]);
    assert_eq!(missing.rule(), Rule::T8);
}

#[test]
fn t4_the_quoting_enclave_is_the_described_one() {
    let good = Case::good();
    let mut product = good.clone();
    product.qe["isvprodid"] = json!(1);
    assert_eq!(product.rule(), Rule::T4);
    let mut signer = good.clone();
    signer.qe["mrsigner"] = json!("00".repeat(32));
    assert_eq!(signer.rule(), Rule::T4);
    assert_eq!(Case { qe_attributes: 0x05, ..good.clone() }.rule(), Rule::T4, "attributes under the mask");
    let mut select = good;
    select.qe["miscselect"] = json!("00000001");
    assert_eq!(select.rule(), Rule::T4);
}
