use super::*;

fn pin() -> String {
    format!("sha256:{}", "0f".repeat(32))
}

#[test]
fn bytes_become_lines_wherever_they_are_cut() {
    let text = b"lethe: stage mounts ms=3\r\nnext\n";
    for cut in 0..text.len() {
        let mut lines = Lines::default();
        let mut found = lines.push(&text[..cut]);
        found.extend(lines.push(&text[cut..]));
        assert_eq!(found, ["lethe: stage mounts ms=3", "next"], "cut at {cut}");
        assert_eq!(lines.rest(), Vec::<String>::new());
    }
}

#[test]
fn an_unfinished_line_is_kept_for_the_end() {
    let mut lines = Lines::default();
    assert_eq!(lines.push(b"half"), Vec::<String>::new());
    assert_eq!(lines.rest(), ["half"]);
    assert_eq!(lines.rest(), Vec::<String>::new());
}

#[test]
fn a_line_without_end_is_cut() {
    let mut lines = Lines::default();
    let found = lines.push(&vec![b'x'; MAX_LINE_BYTES * 2 + 1]);
    assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE_BYTES, MAX_LINE_BYTES]);
    assert_eq!(lines.rest(), ["x"]);
}

#[test]
fn a_guest_cannot_steer_the_terminal() {
    let hostile = "\x1b[01;01Ha\x1b]0;title\x07b\x1b[31mc\u{9b}31md\u{202e}e\x08\0f\x1b(0g\x1b".as_bytes();
    let line = printable(hostile);
    assert_eq!(line, "a0;titlebc31mdefg");
    assert!(!line.chars().any(char::is_control));
}

#[test]
fn a_line_that_firmware_cleared_away_does_not_swallow_the_next_one() {
    let mut lines = Lines::default();
    let seabios = b"\x1bcSeaBIOS (version 1)\r\nBooting from ROM..\x1bclethe: stage console ms=1\r\n";
    assert_eq!(lines.push(seabios), ["SeaBIOS (version 1)", "Booting from ROM..", "lethe: stage console ms=1"]);
    assert_eq!(lines.push(b"\x1b[2J\x1b[01;01H\x1b[=3h\x1b[2Jlethe: stage keys\n"), ["lethe: stage keys"]);
    assert_eq!(lines.push(b"\r\n"), [""], "an empty line stays one");
}

#[test]
fn bytes_that_are_no_text_do_not_stop_the_console() {
    assert_eq!(printable(b"a\xff\xfeb"), "a\u{fffd}\u{fffd}b");
}

#[test]
fn every_line_of_the_contract_is_understood() {
    assert_eq!(read("lethe: stage mounts"), Line::Stage { name: "mounts".to_owned(), ms: None });
    assert_eq!(read("lethe: stage keys ms=412"), Line::Stage { name: "keys".to_owned(), ms: Some(412) });
    assert_eq!(read("lethe: stage model copied=5 of=10"), Line::Copied { bytes: 5, of: 10 });
    let done = Line::Stage { name: "model".to_owned(), ms: Some(9) };
    assert_eq!(read("lethe: stage model copied=10 of=10 architecture=llama ms=9"), done);
    assert_eq!(read(&format!("lethe: spki {}", pin())), Line::Spki(pin()));
    assert_eq!(read("lethe: ready port=8443 ms=1200"), Line::Ready { port: 8443, ms: Some(1200) });
    let refused = Line::Refused { code: "model-digest".to_owned(), reason: "expected a, found b".to_owned() };
    assert_eq!(read("lethe: refused: model-digest expected a, found b"), refused);
    assert_eq!(read("lethe: event served"), Line::Other);
}

#[test]
fn what_only_resembles_the_contract_means_nothing() {
    for line in [
        "",
        "lethe:",
        "lethe: ",
        "lethe: stage",
        "lethe: ready",
        "lethe: ready port=70000",
        "lethe: ready port=-1",
        "lethe: spki sha256:00",
        "lethe: spki sha512:00",
        " lethe: ready port=1",
        "[ 0.1] lethe: ready port=1",
        "Lethe: ready port=1",
    ] {
        assert_eq!(read(line), Line::Other, "{line:?}");
    }
}

#[test]
fn a_boot_is_ready_with_the_pin_it_named_before() {
    let mut watch = Watch::default();
    watch.line(&format!("lethe: spki {}", pin()));
    assert_eq!(watch.outcome(), None);
    watch.line("lethe: ready port=8443 ms=10");
    assert_eq!(watch.outcome(), Some(&Outcome::Ready { spki: Some(pin()) }));
    watch.line(&format!("lethe: spki sha256:{}", "11".repeat(32)));
    assert_eq!(watch.outcome(), Some(&Outcome::Ready { spki: Some(pin()) }), "a later key changes nothing");
}

#[test]
fn a_refused_boot_never_becomes_ready_and_keeps_its_first_reason() {
    let mut watch = Watch::default();
    watch.line("lethe: refused: document unknown key: model.nam");
    watch.line("lethe: refused: other later");
    watch.line("lethe: ready port=8443 ms=10");
    let reason = "unknown key: model.nam".to_owned();
    assert_eq!(watch.outcome(), Some(&Outcome::Refused { code: "document".to_owned(), reason }));
}

#[test]
fn the_last_lines_are_few_and_leave_progress_out() {
    let mut watch = Watch::default();
    for number in 0..30 {
        watch.line(&format!("line {number}"));
        watch.line("lethe: stage model copied=1 of=2");
        watch.line("");
    }
    let last = watch.last_lines();
    assert_eq!(last.len(), crate::machine::error::QUOTED_LINES);
    assert_eq!(last.last().map(String::as_str), Some("line 29"));
}
