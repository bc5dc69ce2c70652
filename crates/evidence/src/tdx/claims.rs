//! Claims of a verified quote, by the names that `lethe check` prints.

use serde_json::{Map, Value, json};

use super::verify::Verified;

/// All claims. Byte strings are lower-case hexadecimal in the quote's order.
pub(super) fn of(verified: &Verified) -> Map<String, Value> {
    let Verified { header, body, qe_report, platform, authority, tcb, shape, machine } = verified;
    let [rtmr0, rtmr1, rtmr2, rtmr3] = &body.rtmr;
    let mut claims = Map::new();
    let mut put = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
    put("version", json!(header.version));
    put("att_key_type", json!(header.attestation_key_type));
    put("tee_type", json!(format!("{:#x}", header.tee_type)));
    // Version 5 has no such field any more: its place is reserved.
    put("qe_svn", if header.version == 4 { json!(header.qe_svn) } else { Value::Null });
    put("pce_svn", json!(header.pce_svn));
    put("qe_vendor", bytes(&header.qe_vendor));
    put("user_data", bytes(&header.user_data));
    put("body_type", json!(body.body_type));
    put("body_size", json!(body.body_bytes));
    for (name, value) in [
        ("tee_tcb_svn", &body.tee_tcb_svn[..]),
        ("mrseam", &body.mr_seam),
        ("mrsignerseam", &body.mr_signer_seam),
        ("seamattributes", &body.seam_attributes),
        ("tdattributes", &body.td_attributes),
        ("xfam", &body.xfam),
        ("mrtd", &body.mrtd),
        ("mrconfigid", &body.mr_config_id),
        ("mrowner", &body.mr_owner),
        ("mrownerconfig", &body.mr_owner_config),
        ("rtmr0", rtmr0),
        ("rtmr1", rtmr1),
        ("rtmr2", rtmr2),
        ("rtmr3", rtmr3),
        ("reportdata", &body.report_data),
    ] {
        put(name, bytes(value));
    }
    if let Some((current, service_td)) = &body.v15 {
        put("tee_tcb_svn_2", bytes(current));
        put("mrservicetd", bytes(service_td));
    }
    if let Some(extended) = &body.extended {
        put("vmid", json!(extended.vm_id));
        put("td_id", bytes(&extended.td_id));
        put("dev_info", bytes(&extended.dev_info));
        put("init_servtd_hash", bytes(&extended.init_service_td_hash));
        put("init_servtd_attributes", bytes(&extended.init_service_td_attributes));
        put("init_cpu_svn", bytes(&extended.init_cpu_svn));
        put("init_tee_tcb_svn", bytes(&extended.init_tee_tcb_svn));
        put("body_rest", bytes(&extended.rest));
    }
    put("rtmr0_is", json!(machine.name()));
    put("sig_len", json!(shape.signature_bytes));
    put("trailing", json!(shape.tail_bytes));
    put("trailing_nonzero", json!(!shape.tail_is_zero));
    put("cert_type", json!(shape.cert_type));
    put("inner_cert_type", json!(shape.inner_cert_type));
    put("qe_mrenclave", bytes(&qe_report.mr_enclave));
    put("qe_mrsigner", bytes(&qe_report.mr_signer));
    put("qe_isvprodid", json!(qe_report.isv_prod_id));
    put("qe_isvsvn", json!(qe_report.isv_svn));
    put("qe_miscselect", bytes(&qe_report.misc_select));
    put("qe_attributes", bytes(&qe_report.attributes));
    put("pck_ca", json!(authority));
    put("fmspc", bytes(&platform.fmspc));
    put("pceid", bytes(&platform.pce_id));
    put("ppid", bytes(&platform.ppid));
    put("platform_instance_id", platform.instance_id.map_or(Value::Null, |id| bytes(&id)));
    put("sgx_comp_svn", json!(platform.components));
    put("pcesvn", json!(platform.pce_svn));
    put("sgx_type", json!(platform.sgx_type));
    put("dynamic_platform", json!(platform.dynamic_platform));
    put("cached_keys", json!(platform.cached_keys));
    put("smt", json!(platform.smt));
    match tcb {
        None => {
            put("tcb_status", json!("undetermined"));
            put("revocation", json!("undetermined"));
        }
        Some(tcb) => {
            put("tcb_status", json!(tcb.status.name()));
            put("tcb_status_current", json!(tcb.current_status.map(|status| status.name())));
            put("tcb_status_platform", json!(tcb.platform.name()));
            put("tcb_status_module", json!(tcb.module.map(|status| status.name())));
            put("tcb_status_qe", json!(tcb.quoting_enclave.name()));
            put("tcb_level_date", json!(tcb.level_date));
            put("advisories", json!(tcb.advisories));
            put("tcb_evaluation_data_number", json!(tcb.evaluation_number));
            put("revocation", json!("not revoked"));
        }
    }
    claims
}

fn bytes(value: &[u8]) -> Value {
    json!(hex::encode(value))
}
