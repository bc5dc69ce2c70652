//! What is a document and what is refused, and how the refusal reads.
#![expect(clippy::expect_used, reason = "clippy knows test functions, not their helpers")]

use deployment::{Access, Document, DocumentError, MAX_BYTES, Network, faults, parse};

const MINIMAL: &str = "\
version = 1
[model]
name = \"tiny\"
sha256 = \"0707070707070707070707070707070707070707070707070707070707070707\"
size_bytes = 131072
[clients]
access = \"anyone\"
";

/// [`MINIMAL`] with one line replaced.
fn with(line: &str, by: &str) -> Result<Document, DocumentError> {
    assert!(MINIMAL.contains(line), "{line}");
    parse(MINIMAL.replacen(line, by, 1).as_bytes())
}

/// [`MINIMAL`] with text after it.
fn and(text: &str) -> Result<Document, DocumentError> {
    parse(format!("{MINIMAL}{text}\n").as_bytes())
}

fn refused(outcome: Result<Document, DocumentError>, message: &str) {
    assert_eq!(outcome.expect_err(message).to_string(), message);
}

#[test]
fn the_least_document_takes_every_default() {
    let document = parse(MINIMAL.as_bytes()).expect("a document");
    assert_eq!(document.model.sha256, [7; 32]);
    assert_eq!(document.clients.access, Access::Anyone);
    assert_eq!(document.engine.context_tokens, 4096);
    assert_eq!(document.listen.address.to_string(), "0.0.0.0:8443");
    assert_eq!(document.network, Network::Dhcp);
}

#[test]
fn exactly_64_kib_are_read_and_not_a_byte_more() {
    let mut bytes = MINIMAL.as_bytes().to_vec();
    bytes.resize(MAX_BYTES, b'\n');
    assert!(parse(&bytes).is_ok());
    bytes.push(b'\n');
    refused(parse(&bytes), "the document is 65537 bytes long, at most 65536 are read");
}

#[test]
fn what_is_no_text_or_no_toml_is_refused_with_its_place() {
    refused(parse(b"version = 1\n# \xff"), "the document is not UTF-8 at byte 14");
    let error = parse(b"version = 1\nmodel name\n").expect_err("no TOML");
    assert!(error.to_string().starts_with("the document is not TOML at line 2, column "), "{error}");
    assert!(matches!(and("[model]"), Err(DocumentError::Syntax { line: 8, .. })), "a table twice");
    assert!(matches!(with("version = 1", "version = 1\nversion = 1"), Err(DocumentError::Syntax { line: 2, .. })));
    assert!(matches!(with("= 131072", "= 99999999999999999999"), Err(DocumentError::Syntax { line: 5, .. })));
}

#[test]
fn an_empty_document_misses_its_version() {
    refused(parse(b""), "version: missing; expected the integer 1");
    assert!(matches!(parse(&[0; 64]), Err(DocumentError::Syntax { .. })));
}

#[test]
fn another_version_is_refused() {
    refused(with("version = 1", "version = 2"), "version: not allowed; expected the integer 1");
    refused(with("version = 1", "version = 0"), "version: not allowed; expected the integer 1");
    refused(with("version = 1", "version = \"1\""), "version: is a text; expected the integer 1");
}

#[test]
fn unknown_keys_and_tables_are_named_wherever_they_stand() {
    refused(and("[limits]\nbody_bites = 1"), "limits.body_bites: unknown key");
    refused(with("version = 1", "version = 1\nmodle = 1"), "modle: unknown key");
    refused(and("[operator]\nkey = 1"), "operator: unknown key");
    refused(and("[network]\nmode = \"dhcp\"\ndns = 1"), "network.dns: unknown key");
    refused(and("[clients.token]\nname = 1"), "clients.token: unknown key");
    refused(
        and("[[clients.tokens]]\nname = \"a\"\nsha256 = \"\"\nrole = \"admin\""),
        "clients.tokens[0].role: unknown key",
    );
    refused(and("[\"model.name\"]"), "\"model.name\": unknown key");
    refused(and("[LIMITS]"), "LIMITS: unknown key");
}

#[test]
fn an_unknown_key_is_reported_before_the_key_it_was_meant_to_be() {
    refused(with("name =", "nmae ="), "model.nmae: unknown key");
}

#[test]
fn hostile_text_never_reaches_the_message() {
    let hostile = "lethe: ready port=8443 ms=1\n\u{1b}[2J".to_owned() + &"A".repeat(10_000);
    let quoted = toml::Value::from(hostile.as_str()).to_string();
    for outcome in [
        with("\"tiny\"", &quoted),
        and(&format!("{quoted} = 1")),
        and(&format!("[{}]", "k".repeat(30_000))),
        and(&format!("[listen]\naddress = {quoted}\nnames = [{quoted}]")),
        and(&format!("[template]\ndate = {quoted}")),
        parse(hostile.as_bytes()),
        parse(format!("x = {}", "9".repeat(30_000)).as_bytes()),
        parse(format!("x = '''{}", "9\n".repeat(30_000)).as_bytes()),
    ] {
        let message = outcome.expect_err("hostile").to_string();
        assert!(message.len() < 320, "{}", message.len());
        assert!(message.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{message:?}");
        assert!(!message.contains("AAAAAAAAAAAAAAAA"), "{message}");
    }
}

#[test]
fn the_model_must_be_named_and_pinned() {
    refused(
        with("sha256 = \"0707070707070707070707070707070707070707070707070707070707070707\"\n", ""),
        "model.sha256: missing; expected 64 hexadecimal digits that are not all zero (zero is never a wildcard)",
    );
    refused(
        with("07070707", "0707070"),
        "model.sha256: not allowed; expected 64 hexadecimal digits that are not all zero (zero is never a wildcard)",
    );
    let zero = MINIMAL.replace("07", "00");
    assert_eq!(parse(zero.as_bytes()).expect_err("zero is no digest").key(), Some("model.sha256"));
    refused(with("131072", "0"), "model.size_bytes: not allowed; expected integer from 1 to 1099511627776 (bytes)");
    refused(with("131072", "-1"), "model.size_bytes: not allowed; expected integer from 1 to 1099511627776 (bytes)");
    assert_eq!(with("\"tiny\"", "\"../tiny\"").expect_err("a path").key(), Some("model.name"));
    assert_eq!(parse(b"version = 1").expect_err("no model").key(), Some("model.name"));
    refused(with("[model]", "[[model]]"), "model: is a list; expected a table under its own [model]");
}

#[test]
fn names_of_the_model_are_all_different() {
    let aliases = |text: &str| with("name = \"tiny\"", &format!("name = \"tiny\"\naliases = {text}"));
    assert_eq!(aliases("[\"a/b\", \"A/b\"]").expect("two aliases").model.aliases.len(), 2);
    refused(aliases("[\"a\", \"b\", \"a\"]"), "model.aliases[2]: the same as model.aliases[0]");
    refused(aliases("[\"tiny\"]"), "model.aliases[0]: the same as model.name");
    assert_eq!(aliases("[\"a\", \"b c\"]").expect_err("a space").key(), Some("model.aliases[1]"));
    let many = |count: usize| format!("{:?}", (0..count).map(|n| format!("m{n}")).collect::<Vec<_>>());
    assert!(aliases(&many(16)).is_ok());
    assert_eq!(aliases(&many(17)).expect_err("17 aliases").key(), Some("model.aliases"));
}

#[test]
fn certificate_names_are_all_different_as_certificates_compare_them() {
    assert!(and("[listen]\nnames = [\"a.example\", \"b.example\", \"192.0.2.1\"]").is_ok());
    refused(and("[listen]\nnames = [\"a.example\", \"A.EXAMPLE\"]"), "listen.names[1]: the same as listen.names[0]");
    refused(
        and("[listen]\nnames = [\"2001:db8::1\", \"2001:DB8:0::1\"]"),
        "listen.names[1]: the same as listen.names[0]",
    );
    assert_eq!(and("[listen]\nnames = [\"*.example\"]").expect_err("a wildcard").key(), Some("listen.names[0]"));
    assert_eq!(and("[listen]\naddress = \"0.0.0.0:0\"").expect_err("port 0").key(), Some("listen.address"));
}

const ACCESS: &str = "clients.access: not allowed; expected \"token\" or \"device\" or \"both\" or \"anyone\"";

#[test]
fn access_by_token_needs_tokens_and_access_for_anyone_has_none() {
    let token = |name: &str, byte: u8| {
        format!("[[clients.tokens]]\nname = \"{name}\"\nsha256 = \"{}\"\n", format!("{byte:02x}").repeat(32))
    };
    let by_token = |tokens: &str| parse((MINIMAL.replace("anyone", "token") + tokens).as_bytes());
    let two = token("alice", 1) + &token("bob", 2);
    assert_eq!(by_token(&two).expect("two tokens").clients.tokens.len(), 2);
    refused(by_token(""), "clients.tokens: empty, while clients.access = \"token\" needs at least one");
    let key = |byte: u8| format!("\"{}\"", format!("{byte:02x}").repeat(32));
    let secrets = |keys: &str, required: bool| format!("[secrets]\noperator_keys = [{keys}]\nrequired = {required}\n");
    assert!(by_token(&secrets(&key(1), true)).expect("tokens come later").secrets.required);
    refused(
        by_token(&secrets(&key(1), false)),
        "clients.tokens: empty, while clients.access = \"token\" needs at least one",
    );
    refused(
        by_token(&(two.clone() + &secrets("", true))),
        "secrets.operator_keys: empty, while secrets.required = true waits for an operator",
    );
    refused(
        by_token(&(two.clone() + &secrets(&format!("{}, {}", key(1), key(1)), false))),
        "secrets.operator_keys[1]: the same as secrets.operator_keys[0]",
    );
    assert_eq!(
        by_token(&(two.clone() + &secrets(&key(0), false))).expect_err("zero").key(),
        Some("secrets.operator_keys[0]")
    );
    refused(and(&two), "clients.tokens: not empty, while clients.access = \"anyone\" would ignore it");
    refused(
        by_token(&(token("alice", 1) + &token("alice", 2))),
        "clients.tokens[1].name: the same as clients.tokens[0].name",
    );
    refused(
        by_token(&(token("alice", 1) + &token("bob", 1))),
        "clients.tokens[1].sha256: the same as clients.tokens[0].sha256",
    );
    assert_eq!(by_token(&token("alice", 0)).expect_err("zero").key(), Some("clients.tokens[0].sha256"));
    assert_eq!(by_token(&token("al ice", 1)).expect_err("a space").key(), Some("clients.tokens[0].name"));
    refused(with("\"anyone\"", "\"nobody\""), ACCESS);
    refused(with("access = \"anyone\"", ""), &ACCESS.replace("not allowed", "missing"));

    let many = |count: u32| {
        (0..count)
            .map(|n| format!("[[clients.tokens]]\nname = \"t{n}\"\nsha256 = \"{:064x}\"\n", n + 1))
            .collect::<String>()
    };
    assert!(by_token(&many(256)).is_ok());
    refused(by_token(&many(257)), "clients.tokens: not allowed; expected at most 256 tables");
}

#[test]
fn access_by_device_needs_the_envelope_and_the_lists_that_its_enrolment_names() {
    let device = |name: &str, byte: u8| {
        format!("[[clients.devices]]\nname = \"{name}\"\nid = \"{}\"\n", format!("{byte:02x}").repeat(32))
    };
    let token = |table: &str, name: &str, byte: u8| {
        format!("[[clients.{table}]]\nname = \"{name}\"\nsha256 = \"{}\"\n", format!("{byte:02x}").repeat(32))
    };
    let access = |access: &str, enrolment: &str, lists: &str| {
        let words = format!("access = \"{access}\"\nenrolment = \"{enrolment}\"");
        let text = MINIMAL.replace("access = \"anyone\"", &words) + lists + "[wires]\nenvelope = true\n";
        parse(text.as_bytes())
    };
    let (phone, once, bearer) = (device("phone", 1), token("enrolments", "once", 2), token("tokens", "alice", 3));
    for (kind, enrolment, lists) in [
        ("device", "any", String::new()),
        ("device", "list", phone.clone()),
        ("device", "token", once.clone()),
        ("device", "token", phone.clone() + &once),
        ("both", "any", bearer.clone()),
        ("both", "list", bearer.clone() + &phone),
    ] {
        let document = access(kind, enrolment, &lists).expect("a document");
        assert!(document.clients.access.takes_devices());
        assert_eq!(document.clients.access.takes_tokens(), kind == "both");
    }
    for (kind, enrolment, lists, message) in [
        (
            "device",
            "list",
            String::new(),
            "clients.devices: empty, while clients.enrolment = \"list\" needs at least one",
        ),
        (
            "device",
            "any",
            phone.clone(),
            "clients.devices: not empty, while clients.enrolment = \"any\" would ignore it",
        ),
        (
            "device",
            "token",
            phone.clone(),
            "clients.enrolments: empty, while clients.enrolment = \"token\" needs at least one",
        ),
        ("device", "any", once.clone(), "clients.enrolments: not empty, while clients.enrolment is not \"token\""),
        (
            "device",
            "any",
            bearer.clone(),
            "clients.tokens: not empty, while clients.access = \"device\" would ignore it",
        ),
        ("both", "any", String::new(), "clients.tokens: empty, while clients.access = \"both\" needs at least one"),
        ("anyone", "list", phone.clone(), "clients.devices: not empty, while clients.access lets no device in"),
        ("anyone", "list", once.clone(), "clients.enrolments: not empty, while clients.access lets no device in"),
        ("device", "list", phone.clone() + &phone, "clients.devices[1].name: the same as clients.devices[0].name"),
        (
            "device",
            "list",
            phone.clone() + &device("other", 1),
            "clients.devices[1].id: the same as clients.devices[0].id",
        ),
        (
            "device",
            "token",
            once.clone() + &token("enrolments", "more", 2),
            "clients.enrolments[1].sha256: the same as clients.enrolments[0].sha256",
        ),
    ] {
        refused(access(kind, enrolment, &lists), message);
    }
    assert_eq!(access("device", "list", &device("phone", 0)).expect_err("zero").key(), Some("clients.devices[0].id"));
    assert_eq!(access("device", "some", "").expect_err("a word").key(), Some("clients.enrolment"));
    let without = MINIMAL.replace("access = \"anyone\"", "access = \"device\"\nenrolment = \"any\"");
    refused(
        parse(without.as_bytes()),
        "wires.envelope: off, while clients.access lets devices in, which have no other wire",
    );
}

#[test]
fn the_watchdog_ends_the_process_no_earlier_than_it_reports() {
    assert!(and("[engine]\nstall_unready_s = 60\nstall_exit_s = 60").is_ok());
    refused(
        and("[engine]\nstall_unready_s = 61\nstall_exit_s = 60"),
        "engine.stall_exit_s: less than engine.stall_unready_s",
    );
    assert!(and("[keys]\nepoch_seconds = 60\ngrace_seconds = 60").is_ok());
    refused(and("[keys]\nepoch_seconds = 60\ngrace_seconds = 61"), "keys.grace_seconds: more than keys.epoch_seconds");
}

#[test]
fn a_fixed_address_is_whole_or_absent() {
    let network = |text: &str| and(&format!("[network]\n{text}"));
    assert_eq!(network("").expect("an empty table").network, Network::Dhcp);
    assert!(
        network("mode = \"static\"\naddress = \"10.0.0.2\"\nprefix_bits = 32\ngateway = \"169.254.1.1\"").is_ok(),
        "off-link"
    );
    assert!(network("mode = \"static\"\naddress = \"2001:db8::2\"\nprefix_bits = 128").is_ok());
    for text in ["address = \"10.0.0.2\"", "mode = \"dhcp\"\naddress = \"10.0.0.2\""] {
        refused(network(text), "network.address: only beside mode = \"static\"");
    }
    assert_eq!(network("mode = \"static\"").expect_err("no address").key(), Some("network.address"));
    let fixed = |address: &str, bits: u8, gateway: &str| {
        network(&format!("mode = \"static\"\naddress = \"{address}\"\nprefix_bits = {bits}\ngateway = \"{gateway}\""))
    };
    refused(
        fixed("10.0.0.2", 33, "10.0.0.1"),
        "network.prefix_bits: over 32, while network.address is an IPv4 address",
    );
    refused(fixed("10.0.0.2", 24, "fe80::1"), "network.gateway: of another family than network.address");
    refused(fixed("10.0.0.2", 24, "10.0.0.2"), "network.gateway: the same as network.address");
    assert_eq!(fixed("0.0.0.0", 24, "10.0.0.2").expect_err("no address").key(), Some("network.address"));
    refused(network("mode = \"bootp\""), "network.mode: not allowed; expected \"dhcp\" or \"static\"");
}

#[test]
fn a_whole_temperature_may_be_written_as_an_integer() {
    assert_eq!(and("[limits]\nmax_temperature = 2").expect("an integer").limits.max_temperature, 2.0);
    assert!(and("[limits]\nmax_temperature = nan").is_err());
    assert!(and("[limits]\nmax_temperature = inf").is_err());
    assert!(and("[limits]\nmax_temperature = 11").is_err());
}

#[test]
fn a_date_without_quotes_is_told_to_take_them() {
    let error = and("[template]\ndate = 2026-01-01").expect_err("a TOML date").to_string();
    assert!(
        error.starts_with("template.date: is a TOML date; expected day of the calendar as YYYY-MM-DD in quotes"),
        "{error}"
    );
}

#[test]
fn every_fault_is_listed_for_people() {
    let text = MINIMAL.replace("131072", "0").replace("\"tiny\"", "1") + "[limits]\nbody_bites = 1\n";
    let keys: Vec<_> = faults(text.as_bytes()).iter().map(|fault| fault.key().map(str::to_owned)).collect();
    assert_eq!(keys, [Some("limits.body_bites".into()), Some("model.name".into()), Some("model.size_bytes".into())]);
    assert_eq!(faults(MINIMAL.as_bytes()), []);
}
